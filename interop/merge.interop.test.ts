import { afterAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { type Comparison, compareMerges, compareWithExact, wrongTensors } from "./compare.ts";
import { type Case, judge } from "./judge.ts";
import { merge, mergeArguments } from "./program.ts";
import { formatTable, share } from "./table.ts";

const python = await judge();
const names = await python.cases();

/** How far outputs may be from those of the exact weights, relative to their norm: what rounding the weights once costs. */
const OUTPUTS_WITHIN = { f32: 1e-6, f16: 1.5e-3, bf16: 1.5e-2 } as const;

const rows: string[][] = [];
const asPeftDoes: string[][] = [];

afterAll(() => {
  const head = [
    "case",
    "weights",
    "≠ f64 rounded",
    "(PEFT)",
    "worst / bound",
    "(PEFT)",
    "error / max|ΔW|",
    "(PEFT)",
    "outputs",
    "(PEFT)",
  ];
  process.stderr.write(`\nOurs beside PEFT's merge_and_unload, both against f64:\n${formatTable(head, rows)}`);
  const peftHead = ["--rounding peft against merge_and_unload", "weights", "differing", "worst ulp"];
  process.stderr.write(`\n${formatTable(peftHead, asPeftDoes)}\n`);
});

describe.each(names)("%s", (name) => {
  const merged = once(async () => {
    const of = await python.case(name);
    const out = join(of.folder, "ours");
    const report = await merge([...mergeArguments(of, out), "--verify"]);
    return { of, out, report, far: await python.logits(out, join(of.folder, "logits.safetensors")) };
  });

  test("adapted weights are W + ΔW, rounded once", async () => {
    const { of, out, report, far } = await merged();
    const ours = compareWithExact(of, out);
    const theirs = compareWithExact(of, join(of.folder, "peft"));
    const once = compareWithExact(of, join(of.folder, of.once));
    rows.push(row(of, far, ours, theirs));

    expect(ours.beyond).toEqual([]);
    if (of.dtype !== "f32") {
      expect(ours.differing).toBeLessThanOrEqual(allowed(ours.weights, 1e-3));
      expect(ours.strict.differing).toBeLessThanOrEqual(allowed(ours.strict.weights, 1e-4));
    }
    // One of PEFT's merges rounds once too: a reference that is wrong would part from it.
    if (of.adapters.length === 1) expect(once.differing).toBeLessThanOrEqual(allowed(once.weights, onceShare(of)));
    expect(report.merged).toBe(Object.keys(of.statistics).length);
    expect(report.max_error_ulp).toBeLessThanOrEqual(of.dtype === "f32" ? Infinity : 1);
    if (of.adapters.length === 1) {
      const largest = Math.max(...Object.values(of.statistics).map((one) => one.max_delta));
      expect(Math.abs(report.max_abs_delta / largest - 1)).toBeLessThan(1e-5);
    }
  });

  test("everything else is the base's, byte for byte", async () => {
    const { of, out, report } = await merged();
    expect(wrongTensors(of, out)).toEqual([]);
    expect(await otherFiles(out)).toEqual(await otherFiles(of.base));
    for (const file of await otherFiles(of.base)) {
      if (file === "config.json" && (of.unties || of.out_dtype !== null)) continue;
      expect(await readFile(join(out, file), "utf8")).toBe(await readFile(join(of.base, file), "utf8"));
    }
    expect(report.out).toBe(out);
    expect(existsSync(join(out, "model.safetensors.index.json")) || existsSync(join(out, "model.safetensors"))).toBe(
      true,
    );
  });

  test("transformers loads it and computes what the exact weights give", async () => {
    const { of, out, far } = await merged();
    const config: Record<string, unknown> = JSON.parse(await readFile(join(out, "config.json"), "utf8"));
    if (of.unties) expect(config["tie_word_embeddings"]).toBe(false);
    expect(far.ours_exact).toBeLessThan(OUTPUTS_WITHIN[of.dtype]);
    // PEFT rounds to the base's dtype, whatever was asked for.
    const within = Math.max(OUTPUTS_WITHIN[of.dtype], OUTPUTS_WITHIN[of.base_dtype]);
    if (!of.unties) expect(far.ours_peft).toBeLessThan(2 * within);
  });

  test("--rounding peft gives PEFT's own weights", async () => {
    const { of } = await merged();
    const out = join(of.folder, "ours-as-peft");
    await merge([...mergeArguments(of, out), "--rounding", "peft"]);
    if (of.unties) return; // PEFT has no such result
    const found = compareMerges(of, out, join(of.folder, "peft"));
    asPeftDoes.push([
      name,
      String(found.weights),
      share(found.differing, found.weights),
      found.worstUlp.toPrecision(3),
    ]);
    // Where no 16-bit rounding hides it, the order in which products are summed shows.
    const hidden = of.dtype !== "f32" || of.base_dtype !== "f32";
    if (hidden) expect(found.differing).toBeLessThanOrEqual(allowed(found.weights, of.rebuilds ? 0.05 : 1e-3));
  });
});

/** What a model folder holds besides weights. */
async function otherFiles(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((file) => !file.includes("safetensors")).toSorted();
}

/** The result of `make`, which runs when it is first asked for. */
function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

/** A share of weights as a number of them; never less than one, or a small tensor would have to be luckier than a large one. */
function allowed(weights: number, part: number): number {
  return Math.max(1, Math.floor(weights * part));
}

/** PEFT sums in f32 in its own order, and converts afterwards where another dtype was asked for. */
function onceShare(of: Case): number {
  return of.dtype === "f32" || of.out_dtype !== null ? 1 : 1e-3;
}

type Far = Awaited<ReturnType<typeof python.logits>>;
function row(of: Case, far: Far, ours: Comparison, theirs: Comparison): string[] {
  return [
    of.name,
    String(ours.weights),
    share(ours.differing, ours.weights),
    share(theirs.differing, theirs.weights),
    ours.worst.toPrecision(2),
    theirs.worst.toPrecision(2),
    ours.worstError.toExponential(1),
    theirs.worstError.toExponential(1),
    far.ours_exact.toExponential(1),
    far.peft_exact.toExponential(1),
  ];
}
