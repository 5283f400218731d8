// Commands about images, run as users run them, and small adapters for them.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../../src/compute/device/device.ts";
import { cleanEnvironment } from "../../src/files/testing/process.ts";
import { type ImageTrial, trainImages } from "../../src/train/testing/images.ts";

/** An image of the fixtures. */
export function image(name: string): string {
  return join(import.meta.dir, "../../fixtures/images", name);
}

/** Runs the program on its CPU device. */
export async function randlora(...args: readonly string[]) {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "../main.ts"), ...args, "--device", "cpu"], {
    env: cleanEnvironment(),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { status, stdout, stderr };
}

/** Trains an adapter for a few steps, and writes it. */
export async function writeTrained(gpu: Device, out: string, trial: ImageTrial): Promise<void> {
  await mkdir(out);
  await trainImages(gpu, trial, 3, (model) => model.save(out));
}
