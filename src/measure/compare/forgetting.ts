import { RandloraError } from "../../files/errors.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import { type ModelLocation, modelOfRun } from "../../models/folder/locate.ts";
import type { KeptGpu } from "../../train/loop/kept-gpu.ts";
import { comparePerplexity, givenTexts } from "../eval/compare.ts";
import { beginningOf, DRAWN_LENGTH, drawnTexts, forgettingOf } from "../eval/forgetting.ts";
import type { TrainObserver } from "../../train/types.ts";
import type { ComparisonFolder } from "./folder.ts";
import type { ComparisonRecord } from "./record.ts";
import type { RunResult } from "./options.ts";
import type { DrawnByBase, PlannedRun } from "./types.ts";

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
