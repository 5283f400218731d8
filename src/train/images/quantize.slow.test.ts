// Models of images whose frozen layers are quantized: the losses of the base that was rounded before.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { multipliesWholeNumbers } from "../../compute/device/testing/stagings.ts";
import { tensorBytes } from "../../compute/device/tensor.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { writeRounded } from "../../adapters/merge/testing/rounded.ts";
import { LAYER_WEIGHTS, writeWiderClip, writeWiderDinov2 } from "../../models/vision/testing/folder.ts";
import type { ImageTask } from "./task.ts";
import { CLS, contrastive, LINEAR, type ImageTrial, TEXTS, trainImages } from "../testing/images.ts";

const TIMEOUT = 120_000;
const STEPS = 8;
const NAMED = { q8: "Q8_0", q4: "Q4_0" } as const;

let gpu: Device;
const folder = await TemporaryFolder.create();
const at = folder.at.bind(folder);
beforeAll(async () => {
  gpu = await openTestDevice();
  await writeWiderClip(at("clip"));
  await writeWiderDinov2(at("dinov2"));
  for (const name of ["clip", "dinov2"]) {
    for (const dtype of Object.values(NAMED))
      await writeRounded(at(name), at(`${name}-${dtype}`), dtype, LAYER_WEIGHTS);
  }
}, TIMEOUT);
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

const zeroShot: ImageTask = { kind: "classify", head: "zero-shot", texts: TEXTS.map((text) => [text]) };

test.each<[string, "clip" | "dinov2", keyof typeof NAMED, Omit<ImageTrial, "folder">]>([
  ["a linear head, factored", "dinov2", "q8", randlora(LINEAR, "factored")],
  ["a linear head, merged", "dinov2", "q4", randlora(LINEAR, "merged")],
  ["a head of the class token", "clip", "q8", randlora(CLS, "merged")],
  ["a frozen head of texts", "clip", "q4", { method: "lora", task: zeroShot, targets: "all-linear" }],
  ["both encoders", "clip", "q8", { method: "lora", task: contrastive("clip"), targets: ["q_proj", "fc1"] }],
  ["texts alone", "clip", "q4", { ...randlora(contrastive("clip", "text"), "factored"), targets: ["q_proj", "fc2"] }],
])(
  "%s: losses of %s in %s are those on a base that was rounded before",
  async (_, base, quantize, trial) => {
    const wanted = await trainImages(gpu, { ...trial, folder: at(`${base}-${NAMED[quantize]}`) }, STEPS);
    const whole = await trainImages(gpu, { ...trial, folder: at(base) }, STEPS);
    const found = await trainImages(gpu, { ...trial, folder: at(base), quantize }, STEPS);
    const most = multipliesWholeNumbers(gpu.staging) ? 1e-3 : 1e-4;
    const apart = (losses: readonly number[]) =>
      Math.max(...losses.map((loss, step) => Math.abs(loss / (wanted[step] ?? NaN) - 1)));
    expect(apart(found)).toBeLessThan(most);
    expect(apart(whole)).toBeGreaterThan(5 * apart(found));
    expect(found.at(-1)).toBeLessThan((found[0] ?? NaN) - 0.01);
    expect(gpu.memory.liveBytes).toBe(0);
  },
  TIMEOUT,
);

function randlora(task: ImageTask, compute: "merged" | "factored"): Omit<ImageTrial, "folder"> {
  return { method: "randlora", task, compute, targets: ["q_proj", "v_proj", "fc1", "fc2"] };
}

test(
  "only layers are quantized, and a summary tells their bytes",
  async () => {
    const trial = { ...randlora(LINEAR, "factored"), folder: at("dinov2"), quantize: "q4" } as const;
    await trainImages(gpu, trial, 1, async ({ model, summary }) => {
      const inBlocks = [...model.tensors].filter(([, { dtype }]) => dtype === "Q4_0").map(([name]) => name);
      expect(inBlocks.toSorted()).toEqual(
        [...model.tensors.keys()].filter((name) => LAYER_WEIGHTS.test(name)).toSorted(),
      );
      const shapes = [
        [96, 32],
        [32, 32],
        [64, 32],
        [32, 64],
      ] as const;
      const sum = (bytes: (shape: (typeof shapes)[number]) => number) =>
        2 * shapes.reduce((all, one) => all + bytes(one), 0);
      expect(summary.quantized).toEqual({
        dtype: "Q4_0",
        bytes: sum((shape) => tensorBytes(shape, "Q4_0")),
        stored: sum(([rows, cols]) => 4 * rows * cols),
      });
    });
  },
  TIMEOUT,
);
