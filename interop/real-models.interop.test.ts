import { afterAll, describe, expect, test } from "bun:test";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { compareMerges, compareWithExact, wrongTensors, type Comparison } from "./compare.ts";
import { judge } from "./judge.ts";
import { smollm2 } from "./models.ts";
import { passed, SMOLLM2 } from "./verified.ts";
import { compiled, merge, mergeArguments } from "./program.ts";
import { formatTable, share } from "./table.ts";

const python = await judge();
const rows: string[][] = [];

afterAll(() => {
  const head = ["compiled binary, real model", "weights", "≠ f64 rounded", "worst / bound", "error / max|ΔW|"];
  process.stderr.write(`\n${formatTable(head, rows)}\n`);
});

function row(name: string, found: Comparison): string[] {
  const { weights, differing, worst, worstError } = found;
  return [name, String(weights), share(differing, weights), worst.toPrecision(2), worstError.toExponential(1)];
}

describe("the compiled binary merges a PEFT adapter into", () => {
  test("the storyteller (f32)", async () => {
    const of = await python.realCase("storyteller", STORIES, "f32");
    const out = join(of.folder, "ours");
    const report = await merge([...mergeArguments(of, out), "--verify"], await compiled());
    const ours = compareWithExact(of, out);
    rows.push(row(of.name, ours), row("PEFT", compareWithExact(of, join(of.folder, "peft"))));
    expect(ours.beyond).toEqual([]);
    expect(wrongTensors(of, out)).toEqual([]);
    expect(report.merged).toBe(Object.keys(of.statistics).length);
    const far = await python.logits(out, join(of.folder, "logits.safetensors"));
    expect(far.ours_exact).toBeLessThan(1e-6);
  });

  test("smollm2-135m (bf16), the bases saved or redrawn: the same bytes", async () => {
    const of = await python.realCase("smollm2-135m", await smollm2(), "bf16");
    const out = join(of.folder, "ours");
    const report = await merge(mergeArguments(of, out), await compiled());
    const ours = compareWithExact(of, out);
    rows.push(row(of.name, ours), row("PEFT", compareWithExact(of, join(of.folder, "peft"))));
    expect(ours.beyond).toEqual([]);
    expect(ours.strict.weights).toBe(ours.weights);
    expect(ours.differing).toBeLessThanOrEqual(ours.weights * 1e-4);
    expect(wrongTensors(of, out)).toEqual([]);
    expect(report.merged).toBe(150);
    const far = await python.logits(out, join(of.folder, "logits.safetensors"));
    expect(far.ours_exact).toBeLessThan(2e-2);

    const bare = await python.withoutProjections(of.adapters[0] ?? "", join(of.folder, "bare"));
    const redrawn = join(of.folder, "redrawn");
    await merge([of.base, bare, "--out", redrawn, "--generator", "torch-mt19937-bf16-v2"], await compiled());
    expect(compareMerges(of, redrawn, out)).toMatchObject({ weights: ours.weights, differing: 0 });
    await passed(of.base, ["merge"], SMOLLM2);
    await rm(of.folder, { recursive: true });
  });
});
