import type { Device } from "../../device/device.ts";
import type { Staging } from "../../device/staging.ts";
import type { Derivative, Matrix, Of, Op, Roles, Some } from "../op.ts";
import { OPS } from "../ops/index.ts";
import { Run } from "../run.ts";
import type { Tensor } from "../tensor.ts";
import { type OpCase, type Operand, random } from "./case.ts";
import { entries, largestOf, mapped, place, relativeError, take } from "./placed.ts";

/** What a device computed beside its f64 reference. */
export interface Comparison {
  /** An output's name, or `gradient of` an input's. */
  readonly of: string;
  /** The largest difference, as a share of the largest wanted value; NaN counts as infinite. */
  readonly error: number;
  /** The share that rounding explains. */
  readonly tolerance: number;
  /** Rows end with zeros, which kernels that sum over them rely on. */
  readonly isPadded: boolean;
}

/** Is it what the reference says, within rounding? */
export function isRight({ error, tolerance, isPadded }: Comparison): boolean {
  return isPadded && error <= tolerance;
}

export const RESULT_TOLERANCE = 1e-4;
const GRADIENT_TOLERANCE = 2e-4;
const NAN = 0x7fc00000;

/** Numbers that no kernel sums over: they go to the CPU, or say where rows are. */
const UNPADDED: ReadonlySet<string> = new Set([OPS.topK.name, OPS.expertRows.name]);

/** Fills a tensor with NaN: stale memory must not show. */
function spoil(device: Device, { buffer }: Tensor): void {
  device.write(buffer, new Uint32Array(buffer.size / 4).fill(NAN));
}

/** Runs a case on a device and in f64. @throws RandloraError `gpu`, `memory` */
export async function compareResults<I extends Roles, A, O extends Roles>(
  op: Op<I, A, O>,
  { inputs, attributes }: OpCase<I, A>,
  device: Device,
  staging: Staging = device.staging,
): Promise<Comparison[]> {
  const wanted = op.reference(matricesOf<I>(inputs), attributes);
  const placed = mapped<I, Operand, Tensor>(inputs, (operand) => place(device, operand));
  using run = new Run(device, staging);
  for (const [, { shape }] of entries<O, Matrix>(wanted)) {
    // Of the pool's buffers, outputs take this one.
    const stale = run.allocate("stale", shape);
    spoil(device, stale);
    run.release(stale);
  }
  const outputs = new Map(entries<O, Tensor>(run.apply(op, placed, attributes)));
  for (const [, output] of outputs) run.keep(output);
  await run.submit();
  const found: Comparison[] = [];
  for (const [name, want] of entries<O, Matrix>(wanted)) {
    const output = outputs.get(name);
    if (output?.shape.join() !== want.shape.join()) throw new TypeError(`${op.name}: ${name} has another shape`);
    const { values, paddedWithZeros } = await take(device, output);
    const isPadded = paddedWithZeros || UNPADDED.has(op.name);
    found.push({ of: name, error: relativeError(values, want.data), tolerance: RESULT_TOLERANCE, isPadded });
  }
  release(device, [...outputs.values(), ...entries<I, Tensor>(placed).map(([, tensor]) => tensor)]);
  return found;
}

/**
 * A device's gradients beside the f64 ones, of a weighted sum of the outputs: its derivatives by them are the weights.
 * @throws RandloraError `gpu`, `memory`
 */
export async function compareGradients<I extends Roles, A, O extends Roles>(
  op: Op<I, A, O>,
  derivative: Derivative<I, A, O>,
  { inputs, attributes }: OpCase<I, A>,
  device: Device,
  staging: Staging = device.staging,
): Promise<Comparison[]> {
  const values = matricesOf<I>(inputs);
  const weights = lossWeights<O>(op.reference(values, attributes));
  const wanted = new Map(entries<I, Matrix>(derivative.gradient(values, attributes, matricesOf<O>(weights))));
  const placed = mapped<I, Operand, Tensor>(inputs, (operand) => place(device, operand));
  const gradients = mapped<O, Operand, Tensor>(weights, (operand) => place(device, operand));
  using run = new Run(device, staging);
  const outputs = run.apply(op, placed, attributes);
  // What a gradient is added to; the other tensors hold NaN.
  const before = new Map<string, Operand>();
  const into = new Map<string, Tensor>();
  for (const [name, { shape }] of wanted) {
    if (derivative.adds?.includes(name) === true) {
      const held = random(...shape);
      before.set(name, held);
      into.set(name, place(device, held));
      continue;
    }
    const target = run.keep(run.allocate(`gradient of ${name}`, shape));
    spoil(device, target);
    into.set(name, target);
  }
  const targets = Object.fromEntries(into) as Some<I, Tensor>; // the keys of `wanted`
  derivative.backward(run, { inputs: placed, outputs, gradients, into: targets }, attributes);
  await run.submit();
  // Where a gradient is zero because terms cancel, it is small compared with the others.
  const least = 1e-2 * Math.max(...[...wanted.values()].map(({ data }) => largestOf(data)));
  const found: Comparison[] = [];
  for (const [name, target] of into) {
    const want = wanted.get(name)?.data ?? new Float64Array();
    const { values: all, paddedWithZeros } = await take(device, target);
    const held = before.get(name)?.matrix.data;
    const own = held === undefined ? all : all.map((value, at) => value - (held[at] ?? NaN));
    const error = relativeError(own, want, least);
    found.push({ of: `gradient of ${name}`, error, tolerance: GRADIENT_TOLERANCE, isPadded: paddedWithZeros });
  }
  const operands = [...entries<I, Tensor>(placed), ...entries<O, Tensor>(gradients)].map(([, tensor]) => tensor);
  release(device, [...into.values(), ...operands]);
  return found;
}

/** The derivatives of a loss by the outputs. */
export function lossWeights<O extends Roles>(outputs: Of<O, Matrix>): Of<O, Operand> {
  return mapped<O, Matrix, Operand>(outputs, ({ shape }) => random(shape[0], shape[1]));
}

/** The values of operands. */
export function matricesOf<R extends Roles>(operands: Of<R, Operand>): Of<R, Matrix> {
  return mapped<R, Operand, Matrix>(operands, ({ matrix }) => matrix);
}

function release({ memory }: Device, tensors: readonly Tensor[]): void {
  for (const { buffer } of tensors) memory.release(buffer);
}
