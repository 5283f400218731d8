import { planSteps } from "../../data/batches/steps.ts";
import type { Samples } from "../../data/batches/types.ts";
import { ImageLoader } from "../../data/images/loader.ts";
import type { ImageSet } from "../../data/images/datasets/types.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import { ALONE, type Processes } from "../../mpi/processes.ts";
import type { ImageBatch } from "./batch.ts";
import type { ImageData } from "./data.ts";
import { ImageSource } from "./source.ts";
import { ImageSteps } from "./steps.ts";
import type { ImageTask } from "./task.ts";
import type { TrainSettings } from "../settings/settings.ts";
import type { DataHashes, OpenOptions, RunPlan, Subject } from "../model/subject.ts";

/** Bad images that are named. */
const NAMED = 20;

/** Images, and the models that are trained on them. Its threads end when it is disposed of. */
export class ImageSubject implements Subject<ImageBatch>, Disposable {
  readonly unit = "images";
  readonly sampleFormat = null;
  readonly #data: ImageData;
  readonly #warn: (line: string) => void;
  /** Why they cannot be read, one line each. */
  readonly #bad = new Set<string>();
  readonly #loaders = new Map<ImageSet, ImageLoader>();

  /** @param warn told of images that are left out */
  constructor(data: ImageData, warn: (line: string) => void) {
    this.#data = data;
    this.#warn = warn;
  }

  /** How many images were left out so far, by whichever process; those of others are named now. */
  async countBad(processes: Processes): Promise<number> {
    const all = await processes.each(JSON.stringify([...this.#bad]));
    // What was written a line above, perhaps in another process of this program.
    for (const line of all.flatMap((lines) => JSON.parse(lines) as string[])) this.#leftOut(line);
    return this.#bad.size;
  }

  dataHashes(): DataHashes {
    return this.#data.hashes;
  }

  plan(settings: TrainSettings, processes: Processes = ALONE): RunPlan<ImageBatch> {
    const { batchSize, gradAccum: accumulation, shards, shuffle, images } = settings;
    const { train, valid } = this.#data;
    const seed = BigInt(settings.seed);
    const length = settings.steps === null ? { epochs: settings.epochs ?? 1 } : { steps: settings.steps };
    const augment = images?.augment === "crop-flip" ? seed : undefined;
    const skipBad = images?.skipBadImages === true;
    const once = { batchSize, accumulation: 1, length: { epochs: 1 }, shuffle: false, seed };
    const onBad = (line: string) => this.#leftOut(line);
    const shared = { batchSize, accumulation, shards, share: processes, length, shuffle, seed };
    const ofTrain = planSteps(samplesOf(train), shared);
    const ofValid = valid && planSteps(samplesOf(valid), once);
    const countAll = async (own: number) => (await processes.each(own)).reduce((sum, count) => sum + count, 0);
    const loaderOf = (set: ImageSet, drawn?: bigint) => () => this.#loaderOf(set, { augment: drawn, skipBad });
    return {
      steps: new ImageSteps(ofTrain, { loader: loaderOf(train, augment), onBad, countAll }),
      validation: ofValid && new ImageSteps(ofValid, { loader: loaderOf(valid), onBad, eachOnce: true }),
    };
  }

  async open(settings: TrainSettings, location: ModelLocation, options: OpenOptions): Promise<ImageSource> {
    const { preprocessing } = this.#data;
    const size = [preprocessing.height, preprocessing.width] as const;
    return await ImageSource.open(settings, location, { task: taskOf(settings, this.#data), size }, options);
  }

  [Symbol.dispose](): void {
    for (const loader of this.#loaders.values()) loader[Symbol.dispose]();
    this.#loaders.clear();
  }

  #loaderOf(set: ImageSet, options: { readonly augment: bigint | undefined; readonly skipBad: boolean }) {
    const { preprocessing } = this.#data;
    const found = this.#loaders.get(set) ?? new ImageLoader(set, { preprocessing, ...options });
    this.#loaders.set(set, found);
    return found;
  }

  #leftOut(line: string): void {
    if (this.#bad.has(line)) return;
    this.#bad.add(line);
    if (this.#bad.size <= NAMED) this.#warn(`left out: ${line}`);
    if (this.#bad.size === NAMED) this.#warn("further images that cannot be read are counted, and not named");
  }
}

/** Micro-batches as numbers of images. */
function samplesOf({ labels }: ImageSet): Samples<readonly number[]> {
  return { length: labels.length, lengthOf: () => 1, targetsOf: () => 1, batchOf: (numbers) => numbers };
}

function taskOf({ images }: TrainSettings, { train, texts }: ImageData): ImageTask {
  const { classes } = train;
  if (images?.head === "linear" || images?.head === "cls") return { kind: "classify", head: images.head, classes };
  if (images?.task !== "contrastive") return { kind: "classify", head: "zero-shot", texts };
  const { loss, towers } = images;
  return {
    kind: "contrastive",
    loss: loss ?? "clip",
    towers: towers ?? "both",
    texts: texts.map(([text = []]) => text),
  };
}
