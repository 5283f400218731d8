import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { judge } from "./judge.ts";
import { merge, randlora } from "./program.ts";
import { openTensors } from "./tensors.ts";

/** Flags of `randlora finetune` without the dashes. Both sides are told the same ones; true is a flag without a value. */
export type Options = Readonly<Record<string, string | number | boolean | readonly number[]>>;

const Step = v.object({
  loss: v.number(),
  learning_rate: v.number(),
  grad_norm: v.number(),
  tokens: v.number(),
});
/** A step as metrics.jsonl has it. */
export type Step = v.InferOutput<typeof Step>;

/** How a run went. */
export interface Course {
  readonly steps: readonly Step[];
  /** The mean loss on the validation set, before the first step and after the last. */
  readonly validLosses: readonly number[];
}

const Line = v.union([v.object({ step: v.number(), ...Step.entries }), v.object({ valid_loss: v.number() })]);
const Report = v.object({ run: v.string(), steps: v.number(), valid_loss: v.nullable(v.number()) });

/** What both sides train on and from. */
export interface Job {
  readonly base: string;
  readonly options: Options;
  readonly data: string;
  readonly valid: string;
}

/** Ours, in file order, into the new folder `out`. */
export async function trainOurs({ base, options, data, valid }: Job, out: string): Promise<Course> {
  const flags = Object.entries(options).flatMap(([flag, value]) =>
    value === true ? [`--${flag}`] : [`--${flag}`, String(value)],
  );
  // Validated before the first step and after the last.
  const files = ["--data", data, "--valid", valid, "--no-shuffle", "--eval-every", String(2 ** 31), "--out", out];
  const stdout = await randlora(["finetune", base, ...files, ...flags, "--json"]);
  const report = v.parse(Report, JSON.parse(stdout));
  const lines = (await readFile(join(out, "metrics.jsonl"), "utf8")).trimEnd().split("\n");
  const parsed = lines.map((line) => v.parse(Line, JSON.parse(line)));
  const steps = parsed.flatMap((line) => ("loss" in line ? [line] : []));
  if (report.steps !== steps.length)
    throw new Error(`${out}: ${report.steps} steps, ${steps.length} of them in metrics`);
  return { steps, validLosses: parsed.flatMap((line) => ("valid_loss" in line ? [line.valid_loss] : [])) };
}

const Trained = v.object({ steps: v.array(Step), valid_losses: v.array(v.number()) });

/**
 * PEFT's, or for `full` transformers', of so many steps. `out` gets what was trained, `out`.start what it was before.
 * @param adapter to go on from; undefined: PEFT's initial values
 */
export async function trainTheirs(job: Job, steps: number, adapter: string | undefined, out: string): Promise<Course> {
  const options = { ...job.options, steps };
  const params = { ...job, options, adapter: adapter ?? null, out };
  const trained = await (await judge()).request(Trained, "train", params);
  return { steps: trained.steps, validLosses: trained.valid_losses };
}

/** The loss on the job's validation set of what somebody trained, by PEFT: the base with an adapter, or a model's folder. */
export async function validLossOf({ base, options, valid }: Job, adapter: string | undefined): Promise<number> {
  return (await judge()).request(v.number(), "valid_loss", { base, options, valid, adapter: adapter ?? null });
}

/** Writes a random decoder of python/decoders.py, with the tokenizer of the model in `tokenizer`. */
export async function tinyModel(name: string, tokenizer: string, out: string): Promise<string> {
  await (await judge()).request(v.null(), "tiny_model", { name, tokenizer, out });
  return out;
}

/**
 * How far our merge of an adapter, in f32, is from PEFT's: the largest difference of a tensor by its largest number. `place` gets both.
 * @param fused the base has tensors of all experts
 */
export async function distanceOfMerge(base: string, adapter: string, place: string, fused = false): Promise<number> {
  const [mine, peft] = [join(place, "merged"), join(place, "peft")];
  await merge([base, adapter, "--out", mine, "--dtype", "f32", "--verify"]);
  await (await judge()).request(v.null(), "merged_architecture", { base, adapter, out: peft, fused });
  const found = openTensors(mine);
  const apart = [...openTensors(peft)].map(([name, wanted]) => {
    return farthest(Float32Array.from(found.get(name)?.values() ?? []), Float32Array.from(wanted.values()));
  });
  return Math.max(...apart);
}

/** The largest difference by the largest number; infinite where there are more or fewer. */
export function farthest(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (found.length !== wanted.length) return Infinity;
  let [most, apart] = [0, 0];
  for (let at = 0; at < wanted.length; at++) {
    most = Math.max(most, Math.abs(wanted[at] ?? NaN));
    apart = Math.max(apart, Math.abs((found[at] ?? NaN) - (wanted[at] ?? NaN)));
  }
  return apart / most;
}

/** transformers' learning rates of all steps. */
export async function learningRates(options: Options): Promise<readonly number[]> {
  return (await judge()).request(v.array(v.number()), "learning_rates", { options });
}

/** The largest |a − b| / |b|. */
export function largestRelative(ours: readonly number[], theirs: readonly number[]): number {
  if (ours.length !== theirs.length) return NaN;
  return theirs.reduce((most, value, i) => {
    const distance = Math.abs((ours[i] ?? NaN) - value) / Math.abs(value);
    return Number.isNaN(distance) ? NaN : Math.max(most, distance);
  }, 0);
}

/**
 * How far what was trained is apart at the end, as a part of the way that training went: the norm of the difference by
 * that of theirs from the start, over all tensors.
 * @param theirs as in `trainTheirs`
 */
export function distanceOfWeights(ours: string, theirs: string): number {
  const [found, wanted, start] = [ours, theirs, `${theirs}.start`].map(openTensors);
  let apart = 0;
  let way = 0;
  for (const [name, tensor] of wanted ?? []) {
    const [a, b, from] = [found?.get(name), tensor, start?.get(name)].map((one) => one?.values());
    if (a?.length !== b?.length) throw new Error(`${ours}: ${name} is missing or has another shape`);
    b?.forEach((value, i) => {
      apart += (value - (a?.[i] ?? NaN)) ** 2;
      way += (value - (from?.[i] ?? NaN)) ** 2;
    });
  }
  return Math.sqrt(apart / way);
}
