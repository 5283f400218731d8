import { expect, test } from "bun:test";
import { nllBlock } from "./nll.ts";

test("blocks of logits are as wide as sums allow, and narrower where many tokens would fill the memory", () => {
  for (const staging of [
    { kind: "workgroup" },
    { kind: "subgroup", lanes: 8 },
    { kind: "subgroup", lanes: 16 },
  ] as const) {
    for (const tokens of [1, 1024]) expect(nllBlock(staging, tokens)).toBe(8192);
  }
  // Four lanes with four sums each: 4096 columns are 256 terms.
  expect(nllBlock({ kind: "subgroup", lanes: 4 }, 1)).toBe(4096);
  for (const tokens of [1025, 3000, 4096, 10_000, 32_768]) {
    const cols = nllBlock({ kind: "workgroup" }, tokens);
    expect(cols % 256).toBe(0);
    expect(cols * tokens * 4).toBeLessThanOrEqual(32 * 2 ** 20);
    expect((cols + 256) * tokens * 4).toBeGreaterThan(32 * 2 ** 20);
  }
  expect(nllBlock({ kind: "workgroup" }, 1_000_000)).toBe(256);
});
