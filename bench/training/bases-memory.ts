import type { Device } from "../../src/compute/device/device.ts";
import { openBase } from "../../src/adapters/base/named-base.ts";
import type { BasisMatrix } from "../../src/compute/device/matrix-storage.ts";
import { TrainingBases } from "../../src/adapters/delta/scaled-bases/training-bases.ts";
import type { GeneratorName, Sparsity } from "../../src/compute/random/names.ts";
import { resolveRandlora } from "../../src/adapters/randlora/config.ts";
import { openNewRandlora } from "../../src/adapters/randlora/method.ts";
import { findTargets } from "../../src/adapters/base/target-modules.ts";
import { settingsOf } from "./trainee.ts";

/** GPU bytes of a pair of bases. */
export interface BasesBytes {
  readonly name: string;
  /** As they are stored. */
  readonly ours: number;
  /** Of that: what is between the last column and the next row. */
  readonly padding: number;
  /** The small base once more, in f32: see `TrainingBases.a`. */
  readonly widened: number;
  /** The same elements in f32, as PEFT trains with them. */
  readonly peft: number;
}

export interface BasesKind {
  readonly name: string;
  readonly sparsity: Sparsity;
  readonly generator: GeneratorName;
}

/** Draws the bases for a model's targets, uploads them as training does, and counts. */
export async function measureBases(gpu: Device, folder: string, r: number, kind: BasesKind): Promise<BasesBytes> {
  await using opened = await openBase(folder);
  const { base } = opened;
  const { name, generator, sparsity } = kind;
  const settings = await settingsOf(folder, { method: "randlora", rank: r, generator, sparsity });
  if (settings.adapter === null) throw new TypeError("RandLoRA without settings of its own");
  const adapter = { ...settings.adapter, ...resolveRandlora(settings.adapter) };
  const targets = findTargets(base, adapter);
  const source = await openNewRandlora({ ...settings, base, signal: undefined }, adapter, targets);
  const { a, b } = source.bases;
  const before = gpu.memory.liveBytes;
  const held = await TrainingBases.create(gpu, source.bases, source.pairing);
  const widened = held.a.buffer.size;
  const ours = gpu.memory.liveBytes - before - widened;
  held.release();
  const padding = paddingOf(a) + paddingOf(b);
  return { name, ours, padding, widened, peft: 4 * (a.rows * a.cols + b.rows * b.cols) };
}

function paddingOf({ cols, stride, storage }: BasisMatrix): number {
  return storage.kind === "philox" ? 0 : storage.data.byteLength * (1 - cols / stride);
}
