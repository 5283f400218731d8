import { shuffled } from "../../data/batches/shuffle.ts";
import { openImages } from "../../data/images/datasets/open.ts";
import { type ImageSet, type Split, subsetOf } from "../../data/images/datasets/types.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import type { DecoderConfig } from "../../models/decoder/config.ts";
import { sameAngles } from "../../models/blocks/rope.ts";
import { loadChatTemplate } from "../../data/text/chat-template.ts";
import { samplesOf } from "../../data/text/samples/batch.ts";
import { locateData } from "../../data/text/samples/files.ts";
import { loadDataSet } from "../../data/text/samples/load.ts";
import type { DataSet, MicroBatch } from "../../data/text/samples/types.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { readEndOfSequence } from "../../data/text/stop.ts";

/** Tokens of one pass, unless a single sample has more: enough to keep a device busy. */
const PASS_TOKENS = 2048;
/** Most tokens of a sample where nothing is said, as `finetune` cuts them. */
const DEFAULT_LENGTH = 1024;

export interface SampleOptions {
  /** Samples to take, the first ones; undefined: all. */
  readonly most?: number | undefined;
  /** Tokens at which samples are cut; undefined: 1024, or the model's context where that is smaller. */
  readonly maxLength?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The files that `--data` means to who measures: of a folder test.jsonl, else valid.jsonl, else train.jsonl.
 * @throws RandloraError as `locateData`
 */
export async function filesToMeasure(data: string): Promise<readonly string[]> {
  const { train, valid, test } = await locateData({ data });
  return test ?? valid ?? train;
}

/**
 * Reads samples as `finetune` does: with their special tokens, end and supervised tokens.
 * @param folder of the model
 * @throws RandloraError as `loadDataSet`
 */
export async function readSamples(folder: string, files: readonly string[], options: SampleOptions): Promise<DataSet> {
  const { vocabularySize, contextLength } = await loadConfig(folder);
  const tokenizer = await loadTokenizer(folder);
  const { most, maxLength = Math.min(DEFAULT_LENGTH, contextLength), signal } = options;
  return await loadDataSet(files, {
    tokenizer,
    template: await loadChatTemplate(folder),
    endOfSequence: await readEndOfSequence(folder, tokenizer),
    vocabularySize,
    maxLength,
    most,
    ...(signal === undefined ? {} : { signal }),
  });
}

/** Samples that go through a model together: number `first` of the set and those after it. */
export interface SamplePass {
  readonly first: number;
  readonly batch: MicroBatch;
}

/**
 * Consecutive samples, as many as a pass holds. Where RoPE depends on the length of a sequence (dynamic, LongRoPE), those
 * alone share a pass that are turned by the same angles.
 */
export function samplePasses(data: DataSet, { ropes }: Pick<DecoderConfig, "ropes">): SamplePass[] {
  const samples = samplesOf(data);
  const passes: SamplePass[] = [];
  let indices: number[] = [];
  let tokens = 0;
  const close = () => {
    const [first] = indices;
    if (first !== undefined) passes.push({ first, batch: samples.batchOf(indices) });
    [indices, tokens] = [[], 0];
  };
  for (let i = 0; i < data.length; i++) {
    const length = data.lengthOf(i);
    const [first = i] = indices;
    const alike = ropes.every((rope) => sameAngles(rope, data.lengthOf(first), length));
    if (tokens + length > PASS_TOKENS || !alike) close();
    indices.push(i);
    tokens += length;
  }
  close();
  return passes;
}

/** Which split is looked at where none is named: the first that is there. */
const SPLITS = ["test", "valid", "train"] as const;

interface ImageChoice {
  /** A folder of images. */
  readonly data: string;
  /** One of the paper's sets, in its own layout. */
  readonly dataset?: string | undefined;
  readonly split?: Split | undefined;
  /** Images to take; undefined: all. */
  readonly most?: number | undefined;
  /** The names and order of the classes, where a head has decided them. */
  readonly classes?: readonly string[] | undefined;
}

/**
 * Images of all classes in one order at random, the same each time, and the first of them: files lie class by class.
 * @throws RandloraError as `openImages`; `data` without such a split
 */
export async function openSamples({ split, most, ...choice }: ImageChoice): Promise<ImageSet> {
  for (const name of split === undefined ? SPLITS : [split]) {
    const set = await openImages({ ...choice, split: name });
    if (set !== undefined) return subsetOf(set, shuffled(set.labels.length, 0n, "analysis").subarray(0, most));
  }
  const cause = `${oneLine(choice.data)}: no ${split ?? "test, valid or train"} split`;
  throw new RandloraError("data", cause, "it takes test/CLASS/*, test.csv, test.jsonl or test.parquet");
}
