// Commands about images, run as users run them, and small adapters for them.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../../src/compute/device/device.ts";
import { type ImageTrial, trainImages } from "../../src/train/testing/images.ts";
import { randlora as run } from "./program.ts";

/** An image of the fixtures. */
export function image(name: string): string {
  return join(import.meta.dir, "../../fixtures/images", name);
}

/** Runs the program. */
export const randlora = (...args: readonly string[]) => run(args);

/** Trains an adapter for a few steps, and writes it. */
export async function writeTrained(gpu: Device, out: string, trial: ImageTrial): Promise<void> {
  await mkdir(out);
  await trainImages(gpu, trial, 3, (model) => model.save(out));
}
