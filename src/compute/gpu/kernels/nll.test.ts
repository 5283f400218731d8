import { expect, test } from "bun:test";
import { nllBlock } from "./nll.ts";

test("blocks of logits are as wide as sums allow, and narrower where many tokens would fill the memory", () => {
  for (const tokens of [1, 1024]) expect(nllBlock(tokens)).toBe(8192);
  for (const tokens of [1025, 3000, 4096, 10_000, 32_768]) {
    const cols = nllBlock(tokens);
    expect(cols % 256).toBe(0);
    expect(cols * tokens * 4).toBeLessThanOrEqual(32 * 2 ** 20);
    expect((cols + 256) * tokens * 4).toBeGreaterThan(32 * 2 ** 20);
  }
  expect(nllBlock(1_000_000)).toBe(256);
});
