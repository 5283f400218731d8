import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { compareMerges, compareWithExact, wrongTensors, type Comparison } from "./compare.ts";
import { type Case, judge } from "./judge.ts";
import { smollm2 } from "./models.ts";
import { passed, SMOLLM2 } from "./verified.ts";
import { compiled, merge, mergeArguments, randlora, ROOT } from "./program.ts";
import { formatTable, share } from "./table.ts";
import { tokensOf } from "./tokens.ts";

const python = await judge();
const rows: string[][] = [];
const Measured = v.object({ nll: v.number(), perplexity: v.number() });
const Report = v.object({ tokens: v.number(), base: Measured, adapted: Measured, merged: Measured });
const CONTEXT = 100;
/** Making an adapter of the 135M model takes minutes on a busy machine. */
const TIMEOUT = 600_000;

let folder: string;
let text: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-real-models-"));
  text = join(folder, "text");
  await Bun.write(text, (await Bun.file(join(ROOT, "LICENSE")).text()).slice(0, 1200));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  const head = ["compiled binary, real model", "weights", "≠ f64 rounded", "worst / bound", "error / max|ΔW|"];
  process.stderr.write(`\n${formatTable(head, rows)}\n`);
});

function row(name: string, found: Comparison): string[] {
  const { weights, differing, worst, worstError } = found;
  return [name, String(weights), share(differing, weights), worst.toPrecision(2), worstError.toExponential(1)];
}

/** Perplexities of the base, adapted and merged, are PyTorch's. @param begins whether texts begin with a token */
async function expectPerplexities(of: Case, merged: string, begins: boolean): Promise<void> {
  const [adapter = ""] = of.adapters;
  const args = [of.base, "--adapter", adapter, "--merged", "--file", text, "--context", String(CONTEXT)];
  const ours = v.parse(Report, JSON.parse(await randlora(["eval", "perplexity", ...args, "--json"])));
  const { ids, beginning } = await tokensOf(of.base, text);
  expect(ids.length).toBeGreaterThan(2 * CONTEXT);
  expect(beginning === null).toBe(!begins);
  const wanted = await python.perplexities({ base: of.base, adapter, merged, ids, context: CONTEXT, beginning });
  for (const kind of ["base", "adapted", "merged"] as const) {
    expect(Math.abs(Math.exp(wanted[kind]) / ours[kind].perplexity - 1), kind).toBeLessThan(1e-4);
  }
  expect(Math.abs(ours.adapted.nll - ours.base.nll)).toBeGreaterThan(1e-3);
  if (of.dtype === "f32") expect(ours.merged).toEqual(ours.adapted);
  else expect(ours.merged.nll).not.toBe(ours.adapted.nll);
}

/** What an adapter makes of a text that is cut is PyTorch's difference. */
async function expectForgetting(of: Case, merged: string): Promise<void> {
  const [adapter = ""] = of.adapters;
  const file = join(of.folder, "texts.jsonl");
  await Bun.write(file, JSON.stringify({ text: await Bun.file(text).text() }));
  const args = [of.base, "--adapter", adapter, "--file", file, "--context", String(CONTEXT), "--json"];
  const ours = JSON.parse(await randlora(["eval", "forgetting", ...args]));
  const { ids } = await tokensOf(of.base, text);
  const first = { ids: ids.slice(0, CONTEXT), context: CONTEXT, beginning: null };
  const { base, adapted } = await python.perplexities({ base: of.base, adapter, merged, ...first });
  expect(Math.abs(ours.forgetting - (adapted - base))).toBeLessThan(1e-5);
  expect(ours).toMatchObject({ texts: 1, tokens: CONTEXT - 1, error: null });
}

describe("the compiled binary merges a PEFT adapter into", () => {
  test(
    "the storyteller (f32)",
    async () => {
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
      await expectPerplexities(of, out, true);
      await expectForgetting(of, out);
    },
    TIMEOUT,
  );

  test(
    "smollm2-135m (bf16), which scores like PyTorch's; the bases saved or redrawn: the same bytes",
    async () => {
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
      await expectPerplexities(of, out, false);

      const bare = await python.withoutProjections(of.adapters[0] ?? "", join(of.folder, "bare"));
      const redrawn = join(of.folder, "redrawn");
      await merge([of.base, bare, "--out", redrawn, "--generator", "torch-mt19937-bf16-v2"], await compiled());
      expect(compareMerges(of, redrawn, out)).toMatchObject({ weights: ours.weights, differing: 0 });
      await passed(of.base, ["merge"], SMOLLM2);
      await rm(of.folder, { recursive: true });
    },
    TIMEOUT,
  );
});
