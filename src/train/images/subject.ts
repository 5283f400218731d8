import { planSteps } from "../../data/batches/steps.ts";
import type { Samples } from "../../data/batches/types.ts";
import { PictureLoader } from "../../data/images/loader.ts";
import type { PictureSet } from "../../data/images/datasets/types.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import type { PictureBatch } from "./batch.ts";
import type { PictureData } from "./data.ts";
import { PictureSource } from "./source.ts";
import { PictureSteps } from "./steps.ts";
import type { PictureTask } from "./task.ts";
import type { TrainSettings } from "../settings/settings.ts";
import type { DataHashes, OpenOptions, RunPlan, Subject } from "../model/subject.ts";

/** Bad pictures that are named. */
const NAMED = 20;

/** Pictures, and the models that learn from them. Its threads end when it is disposed of. */
export class PictureSubject implements Subject<PictureBatch>, Disposable {
  readonly unit = "pictures";
  readonly sampleFormat = null;
  readonly #data: PictureData;
  readonly #warn: (line: string) => void;
  /** Why they cannot be read, one line each. */
  readonly #bad = new Set<string>();
  readonly #loaders = new Map<PictureSet, PictureLoader>();

  /** @param warn told of pictures that are left out */
  constructor(data: PictureData, warn: (line: string) => void) {
    this.#data = data;
    this.#warn = warn;
  }

  /** How many pictures were left out so far. */
  get badImages(): number {
    return this.#bad.size;
  }

  dataHashes(): DataHashes {
    return this.#data.hashes;
  }

  plan(settings: TrainSettings): RunPlan<PictureBatch> {
    const { batchSize, gradAccum: accumulation, shuffle, pictures } = settings;
    const { train, valid } = this.#data;
    const seed = BigInt(settings.seed);
    const length = settings.steps === null ? { epochs: settings.epochs ?? 1 } : { steps: settings.steps };
    const augment = pictures?.augment === "crop-flip" ? seed : undefined;
    const skipBad = pictures?.skipBadImages === true;
    const once = { batchSize, accumulation: 1, length: { epochs: 1 }, shuffle: false, seed };
    const onBad = (line: string) => this.#leftOut(line);
    const ofTrain = planSteps(samplesOf(train), { batchSize, accumulation, length, shuffle, seed });
    const ofValid = valid && planSteps(samplesOf(valid), once);
    const loaderOf = (set: PictureSet, drawn?: bigint) => () => this.#loaderOf(set, { augment: drawn, skipBad });
    return {
      steps: new PictureSteps(ofTrain, { loader: loaderOf(train, augment), onBad }),
      validation: ofValid && new PictureSteps(ofValid, { loader: loaderOf(valid), onBad, eachOnce: true }),
    };
  }

  async open(settings: TrainSettings, location: ModelLocation, options: OpenOptions): Promise<PictureSource> {
    const { preprocessing } = this.#data;
    const size = [preprocessing.height, preprocessing.width] as const;
    return await PictureSource.open(settings, location, { task: taskOf(settings, this.#data), size }, options);
  }

  [Symbol.dispose](): void {
    for (const loader of this.#loaders.values()) loader[Symbol.dispose]();
    this.#loaders.clear();
  }

  #loaderOf(set: PictureSet, options: { readonly augment: bigint | undefined; readonly skipBad: boolean }) {
    const { preprocessing } = this.#data;
    const found = this.#loaders.get(set) ?? new PictureLoader(set, { preprocessing, ...options });
    this.#loaders.set(set, found);
    return found;
  }

  #leftOut(line: string): void {
    if (this.#bad.has(line)) return;
    this.#bad.add(line);
    if (this.#bad.size <= NAMED) this.#warn(`left out: ${line}`);
    if (this.#bad.size === NAMED) this.#warn("further pictures that cannot be read are counted, and not named");
  }
}

/** Micro-batches as numbers of pictures. */
function samplesOf({ labels }: PictureSet): Samples<readonly number[]> {
  return { length: labels.length, lengthOf: () => 1, targetsOf: () => 1, batchOf: (numbers) => numbers };
}

function taskOf({ pictures }: TrainSettings, { train, texts }: PictureData): PictureTask {
  const { classes } = train;
  if (pictures?.head === "linear" || pictures?.head === "cls")
    return { kind: "classify", head: pictures.head, classes };
  if (pictures?.task !== "contrastive") return { kind: "classify", head: "zero-shot", texts };
  const { loss, towers } = pictures;
  return {
    kind: "contrastive",
    loss: loss ?? "clip",
    towers: towers ?? "both",
    texts: texts.map(([text = []]) => text),
  };
}
