import { RandloraError } from "../../files/errors.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import { loadChatTemplate } from "../../data/text/chat-template.ts";
import { loadTrainingData, type TrainingData } from "../../data/text/samples/load.ts";
import { planSteps } from "../../data/batches/steps.ts";
import type { ReadyPlan, Share } from "../../data/batches/types.ts";
import { samplesOf } from "../../data/text/samples/batch.ts";
import type { DataSet, MicroBatch } from "../../data/text/samples/types.ts";
import { readEndOfSequence } from "../../data/text/stop.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import type { Tokenizer } from "../../data/text/tokenizer.ts";
import { dateOf } from "../../data/text/samples/date.ts";
import type { TrainSettings } from "../settings/settings.ts";

/** A run's data, and the tokenizer to show them with. */
export interface RunData {
  readonly data: TrainingData;
  readonly tokenizer: Tokenizer;
}

export interface RunDataOptions {
  /** Told the number of samples read so far, now and then. */
  readonly onProgress?: (samples: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Reads and tokenizes the data that the settings name, with the tokenizer and template of the model in `folder`.
 * @throws RandloraError `file`, `format`, `data`, `usage` as `loadTrainingData` does; `usage` for --early-stop without
 *   validation data
 */
export async function loadRunData(
  settings: TrainSettings,
  folder: string,
  options: RunDataOptions = {},
): Promise<RunData> {
  const { vocabularySize } = await loadConfig(folder);
  const tokenizer = await loadTokenizer(folder);
  const template = await loadChatTemplate(folder);
  const data = await loadTrainingData(
    { data: settings.data, valid: settings.valid ?? undefined, validSplit: settings.validSplit ?? undefined },
    {
      ...options,
      ...(settings.date === null ? {} : { now: dateOf(settings.date) }),
      tokenizer,
      template,
      endOfSequence: await readEndOfSequence(folder, tokenizer),
      vocabularySize,
      trainOnPrompt: settings.trainOnPrompt,
      prompt: settings.prompt ?? undefined,
      maxLength: lengthOf(settings),
      seed: BigInt(settings.seed),
    },
  );
  if (settings.earlyStop > 0 && data.valid === undefined) {
    const hint = "give --valid FILE or --valid-split 0.1";
    throw new RandloraError("usage", "--early-stop needs validation data", hint);
  }
  return { data, tokenizer };
}

/** Runs on texts record it. */
function lengthOf({ maxLength, model }: TrainSettings): number {
  if (maxLength === null) throw new TypeError(`${model}: settings of a run on images`);
  return maxLength;
}

/** The steps that the settings make of the data. */
export function planRun(
  settings: TrainSettings,
  { train, valid }: TrainingData,
  share?: Share,
): { readonly steps: ReadyPlan<MicroBatch>; readonly validation: ReadyPlan<MicroBatch> | undefined } {
  const { batchSize, gradAccum: accumulation, shards, shuffle } = settings;
  const seed = BigInt(settings.seed);
  const length = settings.steps === null ? { epochs: settings.epochs ?? 1 } : { steps: settings.steps };
  const packing = settings.packing ? lengthOf(settings) : undefined;
  const once = { batchSize, accumulation: 1, length: { epochs: 1 }, shuffle: false, seed };
  return {
    steps: planSteps(samplesOf(train), { batchSize, accumulation, shards, share, length, shuffle, seed, packing }),
    validation: valid && planSteps(samplesOf(valid), once),
  };
}

/** See `DataHashes`. */
export function dataHash({ train, valid }: TrainingData): string {
  const hash = new Bun.CryptoHasher("sha256");
  for (const set of [train, valid]) {
    hash.update(`${set?.length ?? -1}\n`);
    for (let i = 0; i < (set?.length ?? 0); i++) hashSample(hash, set, i);
  }
  return hash.digest("hex");
}

function hashSample(hash: Bun.CryptoHasher, set: DataSet | undefined, i: number): void {
  const sample = set?.sample(i);
  if (sample === undefined) return;
  hash.update(`${sample.ids.length}\n`).update(sample.ids).update(sample.supervised);
}
