import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { pitchOf, sliceRows, type Tensor, tensorBytes, tensorIn } from "../../../compute/tensor/tensor.ts";
import { BLOCK_ROWS } from "../../../compute/device/families/delta.ts";
import type { FormedWeights, Method, Placement, Trainable } from "../../method/training.ts";
import { isBlockDtype } from "../../../compute/device/dtype.ts";
import { weightDtype } from "../../../compute/device/weight.ts";
import type { AdapterContent } from "../../files/adapter.ts";
import { savedTensors } from "../../method/train.ts";
import type { ModuleShape } from "../../method/method.ts";
import type { Parameter } from "../../method/parameters.ts";
import { partsOfMatrices, weightFinder } from "../parts.ts";
import { type MagnitudeName, magnitudeName, type OutputFactors, rescaledLinears } from "./vectors.ts";

/** ΔW is formed in blocks of rows of about this much. */
const BLOCK_BYTES = 8 * 2 ** 20;

/** A module whose rows are rescaled. */
interface NormedModule {
  readonly name: string;
  /** W (out, in): rows of the decoder's matrix. */
  readonly weight: Tensor;
  /** Σ (W + ΔW)² of its rows, (1, out) F32. */
  readonly squares: Tensor;
}

/** Rows of a module's ΔW that are formed at once. */
export function formedRows({ shape: [out, input] }: Tensor): number {
  const rows = Math.max(1, Math.floor(BLOCK_BYTES / (4 * pitchOf(input, "F32")) / BLOCK_ROWS)) * BLOCK_ROWS;
  return Math.min(out, rows);
}

/** Scratch for ΔW of the largest of these modules; undefined where none forms it. */
export function allocateFormed(gpu: Device, weights: readonly Tensor[]): DeviceBuffer | undefined {
  const bytes = weights.map((weight) => formedRows(weight) * pitchOf(weight.shape[1], "F32") * 4);
  return weights.length === 0 ? undefined : gpu.memory.allocate("ΔW", Math.max(...bytes));
}

/** Records Σ (W + ΔW)² of each row of a module, as the method has W + ΔW now. */
export function recordSquares(
  run: Run,
  formed: FormedWeights,
  module: NormedModule,
  scratch: DeviceBuffer | undefined,
): void {
  const { name, weight, squares } = module;
  const held = formed.held(name);
  if (held !== undefined) {
    const [w, delta] = held.of === "ΔW" ? [weight, held.tensor] : [held.tensor, undefined];
    run.compute("rowSquares", { weight: w, delta, sums: squares });
    return;
  }
  if (scratch === undefined) throw new Error(`${name}: there is no room for its ΔW`);
  const [out, input] = weight.shape;
  const step = formedRows(weight);
  for (let first = 0; first < out; first += step) {
    const count = Math.min(step, out - first);
    const delta = tensorIn(scratch, [count, input], "F32");
    formed.record(run, name, first, delta);
    const sums = { ...squares, shape: [1, count] as const, offset: squares.offset + first };
    run.compute("rowSquares", { weight: sliceRows(weight, first, count), delta, sums });
  }
}

/** A module whose rows get magnitudes. */
interface MagnitudeModule extends ModuleShape {
  /** As adapters name it. */
  readonly module: string;
  /** Its weight in the checkpoint. */
  readonly tensor: string;
}

/** Floating-point operations of the norms of W + ΔW, where ΔW of a module is a sum of so many terms. */
export function magnitudeFlops(modules: readonly ModuleShape[], terms: (module: ModuleShape) => number): number {
  return modules.reduce((sum, module) => sum + 2 * module.out * module.in * (terms(module) + 1), 0);
}

/** The number of magnitudes of these modules. */
export function countMagnitudes(modules: readonly ModuleShape[]): number {
  return modules.reduce((sum, { out }) => sum + out, 0);
}

/**
 * Another method's W + ΔW whose rows have trained magnitudes m: y = m / ‖W + ΔW‖ ⊙ x (W + ΔW)ᵀ. The norms are worked out
 * when the parameters have changed and are constants in the backward pass (DoRA; Liu et al., arXiv:2402.09353, section
 * 4.3), so that dm = Σ dy ⊙ z / n.
 * @param inner must be able to form its weights (`Method.formed`)
 * @param modules all that it adapts
 * @param values m of the modules, in their order, to go on from; undefined: the norms of W, in W's dtype, as PEFT begins
 */
export function withMagnitude(
  inner: Trainable,
  modules: readonly MagnitudeModule[],
  name: MagnitudeName,
  values?: readonly Float32Array<ArrayBuffer>[],
): Trainable {
  const out = new Map(modules.map(({ module, out }) => [module, out]));
  return {
    ...inner,
    parameters: [
      ...inner.parameters,
      ...modules.map(({ module, out }) => ({ name: magnitudeName(module, name), shape: [1, out] as const })),
    ],
    modules: inner.modules.map((row) => ({ ...row, parameters: row.parameters + (out.get(row.name) ?? 0) })),
    place: async (on) => place(on, await inner.place(on), modules, name, values),
  };
}

/** A module at work. */
interface Rescaled extends NormedModule {
  readonly magnitude: Parameter;
  /** c = m / n and ∂loss/∂c, (1, out): parts of the matrix's. */
  readonly factors: Tensor;
  readonly gradient: Tensor;
}

/** A matrix of the decoder with adapted rows. */
interface RescaledMatrix extends OutputFactors {
  /** ∂loss/∂c of a step, which micro-batches add to; zero between steps. */
  readonly gradient: Tensor;
}

/** All that the magnitudes hold on a GPU. */
interface Placed {
  readonly modules: readonly Rescaled[];
  readonly matrices: ReadonlyMap<DeviceBuffer, RescaledMatrix>;
  readonly scratch: DeviceBuffer | undefined;
}

function place(
  on: Placement,
  inner: Method,
  modules: readonly MagnitudeModule[],
  name: MagnitudeName,
  values: readonly Float32Array<ArrayBuffer>[] | undefined,
): Method {
  const { formed } = inner;
  if (formed === undefined) throw new TypeError("a method whose weights cannot be formed");
  const placed = allocate(on, formed, modules, name);
  for (const [index, { magnitude }] of placed.modules.entries()) {
    const numbers = values?.[index];
    if (numbers !== undefined) on.parameters.write(magnitude.name, "value", numbers);
  }
  return {
    ...inner,
    begin(run) {
      inner.begin?.(run);
      for (const module of values === undefined ? placed.modules : []) recordInitial(run, module);
    },
    prepare(run) {
      inner.prepare(run);
      for (const module of placed.modules) {
        recordSquares(run, formed, module, placed.scratch);
        recordMagnitudes(run, "factor", module, module.magnitude.value, module.factors);
      }
    },
    watched: () => [
      ...inner.watched(),
      ...[...placed.matrices.values()].map(({ factors: value, gradient }) => ({ value, gradient })),
    ],
    linears: (pass) => rescaledLinears(inner.linears(pass), placed.matrices),
    // It multiplies what the others compute.
    over: undefined,
    joint: undefined,
    finish(run) {
      inner.finish(run);
      for (const module of placed.modules) {
        recordMagnitudes(run, "gradient", module, module.gradient, module.magnitude.gradient);
      }
    },
    ...(inner.content && { content: withTensors(inner.content, on.parameters, placed.modules) }),
  };
}

function allocate(
  { gpu, parameters, tensors }: Placement,
  formed: FormedWeights,
  modules: readonly MagnitudeModule[],
  name: MagnitudeName,
): Placed {
  const vector = (label: string, count: number, value = 0): Tensor => {
    const buffer = gpu.memory.allocate(label, tensorBytes([1, count], "F32"));
    gpu.write(buffer, new Float32Array(buffer.size / 4).fill(value, 0, count));
    return tensorIn(buffer, [1, count], "F32");
  };
  const partsOf = partsOfMatrices(tensors);
  const find = weightFinder(tensors);
  const matrices = new Map<DeviceBuffer, RescaledMatrix>();
  const placed = modules.map((module): Rescaled => {
    const { weight, experts = 1, column } = find(module.tensor);
    const { buffer } = weight;
    const last = partsOf.get(buffer)?.at(-1);
    // With the rows of zeros between parts, if there are any.
    const out = last === undefined ? 0 : last.first + last.weight.shape[0];
    // Those of an expert begin as a row of a matrix does.
    const pitch = pitchOf(out / experts, "F32");
    const matrix = matrices.get(buffer) ?? {
      factors: vector("factors", experts * pitch, 1),
      gradient: vector("gradient of factors", experts * pitch),
    };
    matrices.set(buffer, matrix);
    const expert = (weight.offset / weight.pitch - column) / (out / experts);
    const own = (all: Tensor): Tensor => {
      return { ...all, shape: [1, module.out], offset: all.offset + expert * pitch + column };
    };
    return {
      name: module.module,
      weight,
      squares: vector("squares", module.out),
      magnitude: parameters.get(magnitudeName(module.module, name)),
      factors: own(matrix.factors),
      gradient: own(matrix.gradient),
    };
  });
  const unheld = placed.filter((module) => formed.held(module.name) === undefined);
  const scratch = allocateFormed(
    gpu,
    unheld.map(({ weight }) => weight),
  );
  return { modules: placed, matrices, scratch };
}

/** m = the norms of the rows of W, as PEFT begins (lora/dora.py, update_layer). */
function recordInitial(run: Run, { weight, squares, magnitude }: Rescaled): void {
  run.compute("rowSquares", { weight, delta: undefined, sums: squares });
  recordNorms(run, weight, squares, magnitude.value);
}

/** Norms of W from their squares, rounded to its dtype as torch does. Blocks stand for f32 numbers. */
export function recordNorms(run: Run, weight: Tensor, squares: Tensor, to: Tensor): void {
  const dtype = isBlockDtype(weight.dtype) ? "F32" : weightDtype("norms", weight);
  run.compute("magnitudes", { kind: "norm", sums: squares, from: undefined, to, dtype });
}

/** c = m / n, or ∂loss/∂m += ∂loss/∂c / n. */
function recordMagnitudes(run: Run, kind: "factor" | "gradient", { squares }: Rescaled, from: Tensor, to: Tensor) {
  run.compute("magnitudes", { kind, sums: squares, from, to, dtype: "F32" });
}

/** The inner method's adapter with the magnitudes, as PEFT has them: one dimension. */
function withTensors(
  content: () => Promise<AdapterContent>,
  parameters: Placement["parameters"],
  modules: readonly Rescaled[],
): () => Promise<AdapterContent> {
  return async () => {
    const whole = await content();
    const like = modules.map(({ magnitude: { name, shape } }) => ({ name, shape: [shape[1]] }));
    return { ...whole, tensors: [...whole.tensors, ...(await savedTensors(parameters, like))] };
  };
}
