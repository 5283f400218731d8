import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { compareWithExact } from "./compare.ts";
import { judge } from "./judge.ts";
import { merge, mergeArguments } from "./program.ts";
import { ulp } from "./rounding.ts";
import { openTensors } from "./tensors.ts";

const python = await judge();

describe("--unmerge", () => {
  test("takes PEFT's own merge back to the base, to the last place of f32", async () => {
    const of = await python.case("dense-f32-copies");
    const out = join(of.folder, "unmerged");
    await merge([join(of.folder, "peft"), ...of.adapters, "--unmerge", "--out", out]);
    const [found, base] = [openTensors(out), openTensors(of.base)];
    const merged = openTensors(join(of.folder, "peft"));
    let beyond = 0;
    for (const [name, { max_delta: maxDelta }] of Object.entries(of.statistics)) {
      const [values, larger] = [found.get(name)?.values(), merged.get(name)?.values()];
      for (const [i, weight] of (base.get(name)?.values() ?? []).entries()) {
        const step = ulp(Math.max(Math.abs(weight), Math.abs(larger?.[i] ?? Number.NaN)), "f32");
        // PEFT's own ΔW is as far from the exact one as ours may be.
        if (!(Math.abs((values?.[i] ?? Number.NaN) - weight) <= step + 4e-6 * maxDelta)) beyond++;
      }
    }
    expect(beyond).toBe(0);
  });
});

describe("--dtype", () => {
  test.each(["f32-to-bf16", "bf16-to-f32"])("%s: config.json says so", async (name) => {
    const of = await python.case(name);
    const out = join(of.folder, "converted-dtype");
    await merge(mergeArguments(of, out));
    const config: Record<string, unknown> = JSON.parse(await readFile(join(out, "config.json"), "utf8"));
    const base: Record<string, unknown> = JSON.parse(await readFile(join(of.base, "config.json"), "utf8"));
    const expected = { f32: "float32", f16: "float16", bf16: "bfloat16" }[of.dtype];
    expect(config).toEqual({ ...base, dtype: expected });
  });
});

describe("--generator", () => {
  test("is asked for where PEFT's files cannot say which torch drew the bases", async () => {
    const of = await python.case("dense-bf16-redrawn");
    const out = join(of.folder, "never");
    const refused = await merge([of.base, ...of.adapters, "--out", out]).catch(String);
    expect(refused).toContain("ended with status 1");
    expect(refused).toContain("hint:");
    expect(refused).toContain("torch-mt19937-bf16-v2");
    expect(existsSync(out)).toBe(false);
  });

  test("of another torch gives other weights", async () => {
    const of = await python.case("dense-bf16-redrawn");
    const out = join(of.folder, "another-torch");
    await merge([of.base, ...of.adapters, "--out", out, "--generator", "torch-mt19937-bf16-v1"]);
    const found = compareWithExact(of, out);
    expect(found.differing).toBeGreaterThan(found.weights / 4);
  });
});
