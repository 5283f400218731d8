import type { Device } from "../../compute/device/device.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import { openCheckpoint } from "../../models/folder/open-checkpoint.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { isFloat } from "../../files/safetensors/dtype.ts";
import { widenToF32 } from "../../files/safetensors/numbers.ts";
import { openDeltas } from "../../adapters/merge/in-memory/deltas.ts";
import { openBase } from "../../adapters/base/named-base.ts";

/** Elements of weights that are looked at: enough to tell a size, and little beside a run. */
const SAMPLE_ELEMENTS = 2 ** 22;

/*
 * How far training moved weights: ‖ΔW‖ / ‖W‖ over some of those that it adapts; undefined where these are zero.
 */

/** @param adapter a run's @throws RandloraError as `openDeltas`; the signal's reason */
export async function sizeOfAdapter(
  gpu: Device,
  adapter: string,
  { folder, weights }: ModelLocation,
  signal: AbortSignal,
): Promise<number | undefined> {
  await using base = await openBase(weights ?? folder);
  const { checkpoint } = base;
  const keep = async () => ({ ...base, [Symbol.asyncDispose]: async () => {} });
  await using deltas = await openDeltas(gpu, adapter, { layers: [], base: keep }, signal);
  const sizes = deltas.chosen.map((index) => deltas.layer(index).out * deltas.layer(index).in);
  const sums = { change: 0, weight: 0 };
  for (const index of deltas.chosen.filter(isSampled(sizes))) {
    signal.throwIfAborted();
    const before = await firstNumbers(checkpoint, deltas.layer(index).source);
    sums.change += squares((await deltas.form(index)).data.subarray(0, before.length));
    sums.weight += squares(before);
  }
  return relative(sums);
}

/** @param trained the folder of a model that was trained in full @throws RandloraError `file`, `format`; the signal's reason */
export async function sizeOfModel(
  trained: string,
  { folder, weights }: ModelLocation,
  signal: AbortSignal,
): Promise<number | undefined> {
  await using base = await openCheckpoint(weights ?? folder);
  await using model = await openCheckpoint(trained);
  const matrices = [...model.tensors.values()].flatMap(({ info }) => {
    const stored = base.tensors.get(info.name)?.info;
    const isMatrix = info.shape.length === 2 && isFloat(info.dtype) && stored !== undefined && isFloat(stored.dtype);
    return isMatrix && stored.shape.join() === info.shape.join() ? [info] : [];
  });
  const sums = { change: 0, weight: 0 };
  const sizes = matrices.map(({ shape }) => shape.reduce((product, size) => product * size, 1));
  for (const { name } of matrices.filter(isSampled(sizes))) {
    signal.throwIfAborted();
    const [now, before] = [await firstNumbers(model, name), await firstNumbers(base, name)];
    sums.weight += squares(before);
    sums.change += squares(now.map((value, index) => value - (before[index] ?? NaN)));
  }
  return relative(sums);
}

function relative({ change, weight }: { readonly change: number; readonly weight: number }): number | undefined {
  return weight > 0 ? Math.sqrt(change / weight) : undefined;
}

/** Which of tensors of these sizes are looked at: as many as the sample holds, one at least, evenly over all of them. */
function isSampled(sizes: readonly number[]): (_: unknown, index: number) => boolean {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const stride = Math.min(sizes.length, Math.ceil(total / SAMPLE_ELEMENTS));
  return (_, index) => index % stride === 0;
}

/** Of a matrix, which may be an embedding of gigabytes, as many elements as the sample has. */
async function firstNumbers(checkpoint: Checkpoint, name: string): Promise<Float32Array> {
  const { info } = checkpoint.get(name);
  if (!isFloat(info.dtype)) throw new TypeError(`${name} is ${info.dtype}`);
  const size = info.shape.reduce((product, length) => product * length, 1);
  const numbers = new Float32Array(Math.min(size, SAMPLE_ELEMENTS));
  const bytes = new Uint8Array((info.bytes / size) * numbers.length);
  await checkpoint.read(name, bytes, 0);
  widenToF32(bytes, info.dtype, numbers);
  return numbers;
}

function squares(numbers: Float32Array): number {
  return numbers.reduce((sum, value) => sum + value * value, 0);
}
