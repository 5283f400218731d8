import type { Device } from "../../device/device.ts";
import type { Staging } from "../../device/staging.ts";
import { ownedBy } from "../../device/owned.ts";
import { type Matrix, matrixOf, type Of, type Op, type Roles, type Some } from "../op.ts";
import { OPS } from "../ops/index.ts";
import { Run } from "../run.ts";
import type { Shape, Tensor } from "../tensor.ts";
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

/** What a case must come to, in f64. */
export interface Reference<I extends Roles, O extends Roles> {
  readonly results: Of<O, Matrix>;
  /** Derivatives of a loss, a weighted sum of the results. */
  readonly weights: Of<O, Operand>;
  /** Its gradients; none of what is not differentiated. */
  readonly gradients: Some<I, Matrix>;
}

/** Computes a case in f64. */
export function referenceOf<I extends Roles, A, O extends Roles>(
  { reference, derivative }: Op<I, A, O>,
  { inputs, attributes, forwardOnly }: OpCase<I, A>,
): Reference<I, O> {
  const values = matricesOf<I>(inputs);
  const results = reference(values, attributes);
  const weights = mapped<O, Matrix, Operand>(results, ({ shape }) => random(...shape));
  if (derivative === "constant" || forwardOnly === true) return { results, weights, gradients: {} };
  return { results, weights, gradients: derivative.gradient(values, attributes, matricesOf<O>(weights)) };
}

/** What a gradient is added to where it is not assigned. */
const HELD = 0.25;

/**
 * Records the forward pass of a case and, where gradients are wanted, the backward one. What is placed, and what they leave,
 * is the run's device's. Gradients are filled with NaN before, results are undefined.
 */
export function recordCase<I extends Roles, A, O extends Roles>(
  run: Run,
  op: Op<I, A, O>,
  { inputs, attributes }: OpCase<I, A>,
  { weights, gradients: wanted }: Pick<Reference<I, O>, "gradients"> & Partial<Pick<Reference<I, O>, "weights">>,
): (readonly [of: string, left: Tensor])[] {
  const { device } = run;
  const { derivative } = op;
  const placed = mapped<I, Operand, Tensor>(inputs, (operand) => place(device, operand));
  const outputs = run.apply(op, placed, attributes);
  const left = entries<O, Tensor>(outputs).map(([name, output]) => [name, run.keep(output)] as const);
  if (derivative === "constant" || entries<I, Matrix>(wanted).length === 0) return left;
  const gradients =
    weights === undefined
      ? mapped<O, Tensor, Tensor>(outputs, ({ shape }) => run.allocate("weights", shape))
      : mapped<O, Operand, Tensor>(weights, (operand) => place(device, operand));
  const into = entries<I, Matrix>(wanted).map(([name, { shape }]) => {
    const target = place(device, { dtype: "F32", matrix: matrixOf(...shape, () => HELD) });
    if (derivative.adds?.includes(name) !== true) spoil(device, target);
    return [name, target] as const;
  });
  const targets = Object.fromEntries(into) as Some<I, Tensor>; // the keys of `wanted`
  derivative.backward(run, { inputs: placed, outputs, gradients, into: targets }, attributes);
  return [...left, ...into.map(([name, target]) => [`gradient of ${name}`, target] as const)];
}

/** What a device makes of a case. @throws RandloraError `gpu`, `memory` */
export async function computeCase<I extends Roles, A, O extends Roles>(
  op: Op<I, A, O>,
  trial: OpCase<I, A>,
  reference: Reference<I, O>,
  device: Device,
  staging: Staging = device.staging,
): Promise<
  { readonly of: string; readonly shape: Shape; readonly values: Float64Array; readonly isPadded: boolean }[]
> {
  using owned = new DisposableStack();
  using run = new Run(ownedBy(owned, device), staging);
  const left = recordCase(run, op, trial, reference);
  // Nothing has run yet.
  const results = new Set(Object.keys(reference.results));
  for (const [name, tensor] of left) if (results.has(name)) spoil(device, tensor);
  await run.submit();
  const found = [];
  for (const [of, tensor] of left) {
    const { values, paddedWithZeros } = await take(device, tensor);
    found.push({ of, shape: tensor.shape, values, isPadded: paddedWithZeros || UNPADDED.has(op.name) });
  }
  return found;
}

/** A device's results and gradients of a case beside the f64 ones. @throws RandloraError `gpu`, `memory` */
export async function compareCase<I extends Roles, A, O extends Roles>(
  op: Op<I, A, O>,
  trial: OpCase<I, A>,
  device: Device,
  staging: Staging = device.staging,
): Promise<Comparison[]> {
  const reference = referenceOf(op, trial);
  const { derivative } = op;
  const adds = derivative === "constant" ? undefined : derivative.adds;
  const gradients = entries<I, Matrix>(reference.gradients);
  // Where a gradient is zero because terms cancel, it is small compared with the others.
  const least = 1e-2 * Math.max(...gradients.map(([, { data }]) => largestOf(data)));
  const ofResults = { least: undefined, held: 0, tolerance: RESULT_TOLERANCE };
  const wanted = new Map<string, Wanted>([
    ...entries<O, Matrix>(reference.results).map(([of, matrix]) => [of, { matrix, ...ofResults }] as const),
    ...gradients.map(([name, matrix]) => {
      const held = adds?.includes(name) === true ? HELD : 0;
      return [`gradient of ${name}`, { matrix, least, held, tolerance: GRADIENT_TOLERANCE }] as const;
    }),
  ]);
  const computed = await computeCase(op, trial, reference, device, staging);
  if (computed.length !== wanted.size) throw new TypeError(`${op.name}: it left ${computed.length} of ${wanted.size}`);
  return computed.map(({ of, shape, values, isPadded }) => {
    const want = wanted.get(of);
    if (want?.matrix.shape.join() !== shape.join()) throw new TypeError(`${op.name}: ${of} has another shape`);
    const { matrix, held, least, tolerance } = want;
    const error = relativeError(held === 0 ? values : values.map((value) => value - held), matrix.data, least);
    return { of, error, tolerance, isPadded };
  });
}

interface Wanted {
  readonly matrix: Matrix;
  /** What it was added to. */
  readonly held: number;
  /** Differences are shares of this at least. */
  readonly least: number | undefined;
  readonly tolerance: number;
}

/** The values of operands. */
export function matricesOf<R extends Roles>(operands: Of<R, Operand>): Of<R, Matrix> {
  return mapped<R, Operand, Matrix>(operands, ({ matrix }) => matrix);
}
