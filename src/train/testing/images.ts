// Models of images that are trained for a few steps on made-up images of three classes.
import type { HeldDtype } from "../../adapters/method/settings.ts";
import type { Device } from "../../compute/device/device.ts";
import type { BlocksName } from "../../compute/device/dtype.ts";
import { images } from "../../models/vision/testing/models.ts";
import type { ImageBatch } from "../images/batch.ts";
import { Engine } from "../loop/engine.ts";
import { type PlacedLoadedImageModel, ImageSource } from "../images/source.ts";
import type { ImageTask } from "../images/task.ts";
import { resolveSettings } from "../settings/resolve-settings.ts";

export interface ImageTrial {
  /** The model's folder. */
  readonly folder: string;
  readonly method: "randlora" | "lora" | "full";
  /** Of an adapter. */
  readonly targets?: string | readonly string[];
  readonly task: ImageTask;
  /** By default that of the checkpoint. */
  readonly dtype?: HeldDtype;
  readonly quantize?: BlocksName;
  /** Of RandLoRA's products. */
  readonly compute?: "merged" | "factored";
}

export const CLASSES = ["cat", "dog_house", "owl"];

/** Six images of 12 × 12 pixels, two of each class. */
export const BATCH: ImageBatch = { images: images(6, [12, 12]), labels: Uint32Array.of(0, 1, 2, 0, 1, 2) };

/** The loss before each of so many steps; `use` then has the model, and its loss at the end. */
export async function trainImages(
  gpu: Device,
  { folder, method, targets = [], task, dtype = "keep", quantize, compute }: ImageTrial,
  steps: number,
  use: (model: PlacedLoadedImageModel, end: number) => Promise<void> = async () => {},
): Promise<number[]> {
  const adapter = { rank: 2, alpha: 8, targets: typeof targets === "string" ? targets : [...targets] };
  const held = { dtype, ...(quantize && { quantize }) };
  const own = method === "full" ? {} : { ...adapter, ...(compute && { compute }) };
  const asked = { model: folder, data: "made-up", method, seed: 3, ...held, ...own };
  const settings = resolveSettings(asked, { modelType: "", contextLength: 1 });
  await using source = await ImageSource.open(settings, { folder, weights: undefined }, { task });
  const { staging } = gpu;
  const place = { staging, tokens: 60, microBatches: 1, budget: 2 ** 20, choices: undefined };
  using model = await source.place(gpu, place);
  await model.fill();
  const optimizer = { betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, gradClip: 1 } as const;
  using engine = new Engine(gpu, model, { optimizer, checkpointing: false, staging });
  await engine.begin();
  const losses: number[] = [];
  const targetsOf = model.task.termsOf(BATCH);
  const step = (index: number) => ({
    index,
    epoch: 0,
    shards: [{ first: 0, microBatches: [BATCH] }],
    targets: targetsOf,
    tokens: 6,
  });
  for (let index = 0; index < steps; index++) {
    const { outcome } = await engine.step(step(index), 1e-2);
    losses.push((await outcome).loss);
  }
  await use(model, (await engine.sampleLoss(step(0))) ?? NaN);
  return losses;
}

/** Token ids of a text of each class. */
export const TEXTS = [
  [3, 19],
  [4, 5, 19],
  [6, 19],
];
export const LINEAR: ImageTask = { kind: "classify", head: "linear", classes: CLASSES };
export const CLS: ImageTask = { kind: "classify", head: "cls", classes: CLASSES };

export function contrastive(loss: "clip" | "paper", towers: "vision" | "text" | "both" = "both"): ImageTask {
  return { kind: "contrastive", loss, texts: TEXTS, towers };
}
