import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import {
  pitchOf,
  type Shape,
  type Tensor,
  tensorBytes,
  tensorIn,
  elementBytes,
} from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";

/** Rows of a matrix: what is needed of a module to find its place. */
interface WeightRows {
  readonly name: string;
  /** W (out, in) as stored: whole rows of the matrix that the decoder multiplies with, which fills its buffer. */
  readonly weight: Tensor;
  /** That matrix has those of so many experts, one below the other; left out: it is no mixture's. */
  readonly experts?: number | undefined;
  readonly shape: { readonly out: number };
}

/** One matrix that the decoder multiplies with, and the modules that are adapted in it. */
export interface FusedShape<S> {
  /** Rows of the whole matrix, those of other modules included. */
  readonly out: number;
  readonly in: number;
  readonly experts?: number | undefined;
  readonly modules: readonly S[];
}

/** A matrix that the decoder multiplies with, and the adapted modules among its rows. */
export interface FusedMatrix<M extends WeightRows = WeightRows> {
  readonly weight: Tensor;
  readonly shape: FusedShape<M["shape"]>;
  /** In the order of their rows. */
  readonly parts: readonly FusedPart<M>[];
}

export interface FusedPart<M extends WeightRows = WeightRows> {
  readonly module: M;
  /** The module's first row of the matrix. */
  readonly first: number;
}

/**
 * Finds the matrices that modules are rows of: a decoder holds q, k and v joined in one, gate and up in another. In the
 * order in which the modules name them.
 * @throws RangeError when a module is no whole rows of its buffer, or shares rows with another
 */
export function fuse<M extends WeightRows>(modules: readonly M[]): FusedMatrix<M>[] {
  const groups = new Map<DeviceBuffer, M[]>();
  for (const module of modules) {
    const group = groups.get(module.weight.buffer);
    if (group === undefined) groups.set(module.weight.buffer, [module]);
    else group.push(module);
  }
  return [...groups].map(([buffer, group]) => fuseOne(buffer, group));
}

function fuseOne<M extends WeightRows>(buffer: DeviceBuffer, modules: readonly M[]): FusedMatrix<M> {
  const parts = modules.map(partOf).toSorted((left, right) => left.first - right.first);
  const view = parts[0]?.module.weight;
  if (view === undefined) throw new RangeError("a matrix without modules");
  const out = Math.floor((view.scalesAt ?? buffer.size) / (view.pitch * elementBytes(view.dtype)));
  const weight: Tensor = { ...view, offset: 0, shape: [out, view.shape[1]] };
  let end = 0;
  for (const { module, first } of parts) {
    const rows = module.shape.out;
    if (first < end || first + rows > out) throw new RangeError(`${module.name}: its rows are another module's`);
    end = first + rows;
  }
  const { experts } = parts[0]?.module ?? {};
  const shapes = parts.map(({ module }) => module.shape);
  return { weight, parts, shape: { out, in: weight.shape[1], experts, modules: shapes } };
}

function partOf<M extends WeightRows>(module: M): FusedPart<M> {
  const { offset, pitch } = module.weight;
  if (offset % pitch !== 0) throw new RangeError(`${module.name}: it begins within a row`);
  return { module, first: offset / pitch };
}

/** Scratch buffers, allocated once. All modules share them: what is recorded one after the other runs so. */
export class Scratch<Role extends string> {
  readonly #buffers = new Map<string, DeviceBuffer>();

  /**
   * @param sizes bytes of each buffer; 0: none
   * @throws RandloraError `memory`
   */
  constructor(gpu: Device, sizes: Readonly<Record<Role, number>>) {
    for (const [role, bytes] of Object.entries<number>(sizes)) {
      if (bytes > 0) this.#buffers.set(role, gpu.memory.allocate(`adapter scratch: ${role}`, bytes));
    }
  }

  get(role: Role): DeviceBuffer {
    const buffer = this.find(role);
    if (buffer === undefined) throw new Error(`no scratch was planned for ${role}`);
    return buffer;
  }

  /** Undefined where nothing needs it. */
  find(role: Role): DeviceBuffer | undefined {
    return this.#buffers.get(role);
  }
}

/** What is held of a matrix, so that ΔW is formed, and G taken back, less often. */
export interface ProductsPlan {
  /** W' (with dropout: ΔW) is formed once a step and held; otherwise in the forward and again in the backward pass. */
  readonly kept: boolean;
  /** G is summed over the micro-batches of a step, in a buffer of its own for each module. */
  readonly summed: boolean;
}

/** The sizes of a module whose ΔW is (out, in). */
export interface ModuleRows {
  readonly out: number;
  readonly in: number;
  /** Is G (out, in), and not its transpose? True by default. */
  readonly tall?: boolean;
}

/** One module under training, whose ΔW is a function of trained tensors. */
export interface AdaptedModule extends WeightRows {
  readonly shape: ModuleRows;
  /** Tells the dropout masks of modules apart. */
  readonly index: number;
  /**
   * Records ΔW (out, in) into F32 rows, assigned or added; or so many of its rows as the target has, from `from` on, a
   * multiple of `BLOCK_ROWS`.
   */
  form(run: Run, target: Tensor, accumulate: boolean, from?: number): void;
  /** Records what G = ∂loss/∂ΔW adds to the gradients of the trained tensors; see {@link gradientShape}. */
  fold(run: Run, g: Tensor): void;
}

/** An adapted module within the matrix that the decoder multiplies with. */
export interface HeldPart<M extends AdaptedModule> extends FusedPart<M> {
  /** ΔW, where it is held and something is dropped; W' has its rows otherwise. */
  readonly delta: Tensor | undefined;
  /** G, where it is summed over micro-batches. */
  readonly product: Tensor | undefined;
}

/** Bytes of W', and of G, of experts that are formed together, where there is more than one. */
const EXPERTS_BYTES = 32 * 2 ** 20;

/** Experts of a matrix whose W' is formed together where it is not held: a step has no copy of all of them. */
export function expertsAtOnce({ out, in: input, experts = 1 }: Omit<FusedShape<ModuleRows>, "modules">): number {
  return Math.min(experts, Math.max(1, Math.floor(EXPERTS_BYTES / mergedBytes(out / experts, input))));
}

/** A matrix some of whose rows are adapted. */
export interface HeldMatrix<M extends AdaptedModule, P extends ProductsPlan> {
  /** The frozen W (out, in), as the decoder multiplies with it. */
  readonly weight: Tensor;
  /** Those that it has the matrices of; undefined: it is no mixture's. */
  readonly experts: number | undefined;
  /** In the order of their rows. */
  readonly parts: readonly HeldPart<M>[];
  readonly plan: P;
  /** W', where it is held through a step. */
  readonly merged: Tensor | undefined;
}

/** G of a module: (out, in), or the transpose of that. */
export function gradientShape({ out, in: input, tall = true }: ModuleRows): Shape {
  return tall ? [out, input] : [input, out];
}

/** Bytes of a module's G. */
function gradientBytes(module: ModuleRows): number {
  return tensorBytes(gradientShape(module), "F32");
}

/** Bytes of W' (or of a module's ΔW) in f32; its rows are as long as those of a 16-bit W. */
function mergedBytes(out: number, input: number): number {
  return out * pitchOf(input, "BF16") * 4;
}

/** Bytes that a matrix holds for itself between micro-batches: for W' (with dropout the ΔW of its modules), and for G. */
export function heldBytes({ out, in: input, modules }: FusedShape<ModuleRows>, dropout: boolean) {
  const each = (bytes: (module: ModuleRows) => number) => modules.reduce((sum, module) => sum + bytes(module), 0);
  return { merged: dropout ? each(deltaBytes) : mergedBytes(out, input), product: each(gradientBytes) };
}

/** Bytes of scratch for what a matrix does not hold. */
export function scratchBytes(
  matrix: FusedShape<ModuleRows>,
  { kept, summed }: ProductsPlan,
  dropout: boolean,
): { readonly merged: number; readonly product: number } {
  const { out, in: input, experts = 1, modules } = matrix;
  const largest = (bytes: (module: ModuleRows) => number) => Math.max(...modules.map(bytes));
  const together = expertsAtOnce(matrix);
  return {
    merged: kept ? 0 : dropout ? largest(deltaBytes) : mergedBytes((out / experts) * together, input),
    product: summed ? 0 : together * largest(gradientBytes),
  };
}

/** The same for all matrices, which share it. */
export function scratchSizes(
  matrices: readonly FusedShape<ModuleRows>[],
  plans: readonly ProductsPlan[],
  dropout: boolean,
): { readonly merged: number; readonly product: number } {
  const sizes = matrices.map((matrix, index) => scratchBytes(matrix, itemAt(plans, index), dropout));
  return {
    merged: Math.max(0, ...sizes.map(({ merged }) => merged)),
    product: Math.max(0, ...sizes.map(({ product }) => product)),
  };
}

function deltaBytes({ out, in: input }: ModuleRows): number {
  return mergedBytes(out, input);
}

/** Allocates what a matrix holds for itself. @throws RandloraError `memory` */
export function holdMatrix<M extends AdaptedModule, P extends ProductsPlan>(
  gpu: Device,
  { weight, shape: { experts }, parts }: FusedMatrix<M>,
  plan: P | undefined,
  dropout: boolean,
): HeldMatrix<M, P> {
  if (plan === undefined) throw new RangeError(`${weight.buffer.label}: nothing is planned`);
  const [out, input] = weight.shape;
  const allocate = (label: string, bytes: number) => gpu.memory.allocate(`${weight.buffer.label}: ${label}`, bytes);
  const f32 = (buffer: DeviceBuffer, shape: Tensor["shape"], pitch: number): Tensor => {
    return { shape, dtype: "F32", buffer, offset: 0, pitch };
  };
  return {
    weight,
    experts,
    plan,
    merged:
      plan.kept && !dropout ? f32(allocate("W'", mergedBytes(out, input)), weight.shape, weight.pitch) : undefined,
    parts: parts.map(({ module, first }) => {
      const { shape } = module;
      return {
        module,
        first,
        delta:
          plan.kept && dropout
            ? f32(allocate("ΔW", mergedBytes(shape.out, shape.in)), [shape.out, shape.in], pitchOf(shape.in, "F32"))
            : undefined,
        product: plan.summed ? tensorIn(allocate("G", gradientBytes(shape)), gradientShape(shape), "F32") : undefined,
      };
    }),
  };
}
