import { join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { METRICS_FILE, SETTINGS_FILE } from "../../files/run-names.ts";
import { parseMetrics } from "../../train/run/metrics.ts";
import type { ComparisonFolder } from "./folder.ts";
import { plannedRuns } from "./plan.ts";
import { type ComparisonRecord, keyOf } from "./record.ts";
import type { Metrics, TrainObserver } from "../../train/types.ts";
import type { RunResult } from "./options.ts";
import type { PlannedRun, DrawnByBase } from "./types.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import { type ModelLocation, modelOfRun } from "../../models/folder/locate.ts";
import type { KeptGpu } from "../../train/loop/kept-gpu.ts";
import { comparePerplexity, givenTexts } from "../eval/compare.ts";
import { beginningOf, DRAWN_LENGTH, drawnTexts, forgettingOf } from "../eval/forgetting-command.ts";

/** What metrics.jsonl tells of a run. */
type Measured = Pick<
  RunResult,
  "steps" | "loss" | "valid_loss_before" | "valid_loss" | "best_valid_loss" | "accuracy" | "seconds"
>;

/** The part of the steps that `loss` is the mean of. */
const LAST = 1 / 4;

/** Sums a run up: `loss` is the mean over the last quarter of its steps, at least one; null without any. */
export function measure(metrics: readonly Metrics[]): Measured {
  const steps = metrics.flatMap((line) => ("loss" in line ? [line] : []));
  const evaluations = metrics.flatMap((line) => ("valid_loss" in line ? [line] : []));
  const end = evaluations.at(-1);
  const [begin] = evaluations;
  const last = steps.slice(steps.length - Math.ceil(steps.length * LAST));
  return {
    steps: steps.length,
    loss: last.length === 0 ? null : last.reduce((sum, { loss }) => sum + loss, 0) / last.length,
    valid_loss_before: begin?.step === 0 ? begin.valid_loss : null,
    valid_loss: end?.valid_loss ?? null,
    best_valid_loss: evaluations.length === 0 ? null : Math.min(...evaluations.map(({ valid_loss: loss }) => loss)),
    accuracy: end?.valid_accuracy ?? null,
    seconds: steps.reduce((sum, { seconds }) => sum + seconds, 0),
  };
}

/** The steps and evaluations of a run. @throws RandloraError `file` */
export async function metricsOf(folder: ComparisonFolder, run: PlannedRun): Promise<readonly Metrics[]> {
  const file = Bun.file(join(folder.run(run.name), METRICS_FILE));
  return (await file.exists()) ? parseMetrics(await file.text()) : [];
}

/** What is recorded, without the results whose run is gone; a run whose files say otherwise is refused. */
export async function verified(
  { folder, record }: { readonly folder: ComparisonFolder; readonly record: ComparisonRecord },
  observer: { note(line: string): void },
): Promise<ComparisonRecord> {
  const runs = plannedRuns(record.comparison);
  const results: RunResult[] = [];
  for (const result of record.results) {
    const run = runs.find((one) => isOf(result, one));
    if (run === undefined || result.error !== null) {
      results.push(result);
      continue;
    }
    const path = folder.run(run.name);
    if (!(await Bun.file(join(path, SETTINGS_FILE)).exists())) {
      observer.note(`${oneLine(path)} is gone: the run is made again`);
      continue;
    }
    const found = measure(await metricsOf(folder, run));
    const recorded = new Map(Object.entries(result));
    const isOther = Object.entries(found).some(([key, value]) => recorded.has(key) && recorded.get(key) !== value);
    if (isOther) throw tampered(path, `its ${METRICS_FILE} is not what the comparison recorded`);
    results.push(result);
  }
  return { ...record, results };
}

/** A run that is not what the comparison made. */
export function tampered(path: string, cause: string): RandloraError {
  const hint = "put back what was there, or remove the folder: its run is then made again";
  return new RandloraError("format", `${oneLine(path)}: ${cause}`, hint);
}

/** What of a run tells how long others take. */
type TimedRun = Pick<RunResult, "method" | "budget" | "seed" | "seconds">;

/** Each run is taken to need what the method's runs at its size have needed on the mean, or all runs where it has none yet. */
export function secondsLeft(runs: readonly PlannedRun[], results: readonly TimedRun[]): number | undefined {
  const left = runs.filter((run) => !results.some((result) => isOf(result, run)));
  if (left.length === 0 || results.length === 0) return undefined;
  const mean = (of: readonly TimedRun[]) => of.reduce((sum, { seconds }) => sum + seconds, 0) / of.length;
  return left.reduce((sum, { contender }) => {
    const own = results.filter(({ method, budget }) => method === contender.label && budget === contender.budget);
    return sum + mean(own.length === 0 ? results : own);
  }, 0);
}

/** What runs have taken in this process: loading, validations and saves, which results leave out. */
export class RunTimes {
  readonly #now: () => number;
  readonly #taken: TimedRun[] = [];
  #began = 0;

  /** @param now a clock in milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  begin(): void {
    this.#began = this.#now();
  }

  end({ contender: { label: method, budget }, settings: { seed } }: PlannedRun): void {
    this.#taken.push({ method, budget, seed, seconds: (this.#now() - this.#began) / 1000 });
  }

  /** As {@link secondsLeft}; of a run that was resumed its steps may have taken longer. */
  left(runs: readonly PlannedRun[], results: readonly TimedRun[]): number | undefined {
    const whole = results.map((result) => {
      const own = this.#taken.find(
        (one) => keyOf(one.method, one.budget, one.seed) === keyOf(result.method, result.budget, result.seed),
      );
      return own === undefined ? result : { ...result, seconds: Math.max(result.seconds, own.seconds) };
    });
    return secondsLeft(runs, whole);
  }
}

/** Is it the result of this run? */
export function isOf({ method, budget, seed }: TimedRun, { contender, settings }: PlannedRun): boolean {
  return keyOf(method, budget, seed) === keyOf(contender.label, contender.budget, settings.seed);
}

/** As `eval forgetting` has it. */
const SEED = 0;

/** Where texts are kept and runs are, and what computes. */
interface Input {
  readonly folder: ComparisonFolder;
  readonly record: ComparisonRecord;
  readonly location: ModelLocation;
  readonly gpu: KeptGpu;
}

/**
 * The texts that runs are measured on: those that the comparison's folder keeps, else the base draws them. Where all
 * contenders quantize the base alike it is quantized here, too.
 * @returns undefined where forgetting is not measured: of images, where the signal came, or where it cannot be, which is noted
 */
export async function drawByBase(
  input: Input,
  observer: { note(line: string): void },
  signal: AbortSignal,
): Promise<DrawnByBase | undefined> {
  const { forgetting, contenders } = input.record.comparison;
  if (forgetting === 0 || contenders.some(({ settings }) => settings.images !== null)) return undefined;
  try {
    return await input.folder.drawn(() => draw(input, signal));
  } catch (thrown) {
    input.gpu.letGo();
    if (signal.aborted) return undefined;
    if (!(thrown instanceof RandloraError)) throw thrown;
    observer.note(`forgetting is not measured: ${thrown.message}`);
    return undefined;
  }
}

async function draw({ record, location, gpu }: Input, signal: AbortSignal): Promise<DrawnByBase> {
  const { forgetting, contenders } = record.comparison;
  const [{ contextLength }, tokenizer] = [await loadConfig(location.folder), await loadTokenizer(location.folder)];
  const length = Math.max(1, Math.min(DRAWN_LENGTH, contextLength - 1));
  const beginning = await beginningOf(location.folder, tokenizer);
  const drawn = drawnTexts({ count: Math.ceil(forgetting / length), length, beginning, seed: SEED });
  let texts: DrawnByBase["texts"] = [];
  const kept = { ...drawn, ids: async (...on: Parameters<typeof drawn.ids>) => (texts = await drawn.ids(...on)) };
  const [quantize, ...others] = new Set(contenders.map(({ settings }) => settings.quantize));
  const { base } = await comparePerplexity(kept, {
    location,
    merged: false,
    quantize: others.length > 0 ? undefined : (quantize ?? undefined),
    open: () => gpu.open(),
    signal,
  });
  return { texts, base };
}

/** What a run has forgotten, with its best adapter or model, as `eval forgetting` measures it; null where it cannot be, undefined where the signal came. */
export async function forgettingOfRun(
  { texts, base }: DrawnByBase,
  { name, settings: { quantize } }: PlannedRun,
  { folder, location, gpu }: Input,
  observer: Pick<TrainObserver, "warn" | "pause">,
  signal: AbortSignal,
): Promise<Pick<RunResult, "forgetting" | "forgetting_error"> | undefined> {
  const path = folder.run(name);
  const tokens = base.sums.reduce((sum, one) => sum + one.tokens, 0);
  const known = { ...base, tokens, perplexity: Math.exp(base.nll) };
  const model = modelOfRun(path);
  const size = Math.max(...texts.map(({ length }) => length));
  let done = 0;
  const onTokens = (more: number) => observer.pause("measuring forgetting", (done += more), tokens);
  try {
    onTokens(0);
    const found = await comparePerplexity(givenTexts(texts, size), {
      ...(model === undefined
        ? { location, adapter: { path, scale: 1 }, known }
        : { location: { folder: model, weights: undefined } }),
      merged: false,
      quantize: quantize ?? undefined,
      open: () => gpu.open(),
      onTokens,
      signal,
    });
    const { mean, error } = forgettingOf(known, found.adapted ?? found.base);
    return { forgetting: mean, forgetting_error: error };
  } catch (thrown) {
    gpu.letGo();
    // What was trained counts without it.
    if (signal.aborted) return undefined;
    if (!(thrown instanceof RandloraError)) throw thrown;
    observer.warn(`its forgetting is not measured: ${thrown.message}`);
    return { forgetting: null, forgetting_error: null };
  }
}
