import type { Device, DeviceBuffer } from "../../compute/device/device.ts";
import { pitchOf, type Shape, type Tensor } from "../../compute/tensor/tensor.ts";
import { mapValues } from "../../files/map-values.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";

/** A tensor that will be trained. */
export interface ParameterPlan {
  readonly name: string;
  /** Rows and columns on the GPU. */
  readonly shape: Shape;
  /** A part of a head, which may have a learning rate of its own. */
  readonly isHead?: boolean;
  /** Its learning rate is so many times that of the others; 1 by default. With 0 it stays, and is no trainable parameter. */
  readonly rate?: number;
}

/**
 * What is stored for each number that is trained: ∂loss/∂value, summed over the micro-batches of a step and zero between steps,
 * and AdamW's running means of the gradient and of its square.
 */
export const ROLES = ["value", "gradient", "mean", "square"] as const;
export type ParameterRole = (typeof ROLES)[number];

/** A trained tensor: F32 views of its place in the four buffers of a chunk. */
export interface Parameter extends ParameterPlan, Readonly<Record<ParameterRole, Tensor>> {}

/** Trained tensors that lie in the same buffers: `size` elements in each, all of which one kernel may walk over. */
export interface Chunk extends Readonly<Record<ParameterRole, DeviceBuffer>> {
  readonly size: number;
  /** All of it are heads, or none. */
  readonly isHead: boolean;
  /** That of all of it. */
  readonly rate: number;
}

const LABELS = ["parameters.value", "parameters.gradient", "parameters.mean", "parameters.square"] as const;

/** A step of AdamW works on all roles of a chunk. */
function largestChunk({ limits }: Device): number {
  return Math.min(limits.maxBindingSize, limits.maxTogether / ROLES.length);
}

/** Elements between the begins of tensors: 256 bytes, which every GPU accepts as the begin of a binding. */
const ALIGNMENT = 64;

/**
 * All that is trained, on the GPU: values, gradients and AdamW's two moments, each flat in buffers that one dispatch can
 * bind (a tensor that is larger has buffers of its own). What lies between rows and between tensors is zero, and stays
 * so: gradients there are zero, hence moments and updates.
 */
export class Parameters {
  readonly all: readonly Parameter[];
  readonly chunks: readonly Chunk[];
  readonly #gpu: Device;
  readonly #byName: ReadonlyMap<string, Parameter>;

  /**
   * Allocates zeros.
   * @param most bytes of a buffer that holds several tensors; unless a test says less what a command takes of four such
   * @param trained false: nobody will write gradients and moments, and they take no memory, being those of the values
   * @throws RandloraError `memory`; TypeError for a name that occurs twice
   */
  constructor(gpu: Device, plans: readonly ParameterPlan[], most = largestChunk(gpu), trained = true) {
    this.#gpu = gpu;
    const chunks: Chunk[] = [];
    const placed = new Map<ParameterPlan, Parameter>();
    for (const { size, isHead, rate, members } of groups(plans, most)) {
      const buffers = gpu.memory.allocateTogether(trained ? LABELS : ["parameters.value"], size * 4);
      const [value, gradient = value, mean = value, square = value] = buffers;
      const own = { value, gradient, mean, square };
      chunks.push({ size, isHead, rate, ...own });
      for (const { plan, offset } of members) {
        const { name, shape, rate = 1 } = plan;
        const view = (buffer: DeviceBuffer): Tensor => {
          return { shape, dtype: "F32", buffer, offset, pitch: pitchOf(shape[1], "F32") };
        };
        placed.set(plan, { name, shape, rate, ...mapValues(own, view) });
      }
    }
    this.chunks = chunks;
    this.all = plans.flatMap((plan) => placed.get(plan) ?? []);
    this.#byName = new Map(this.all.map((parameter) => [parameter.name, parameter]));
    if (this.#byName.size !== plans.length) throw new TypeError("two parameters of one name");
    gpu.clear(this.#buffers());
  }

  /** The number of trainable parameters. */
  get count(): number {
    return this.all.reduce((sum, { shape, rate }) => sum + (rate === 0 ? 0 : shape[0] * shape[1]), 0);
  }

  /** Bytes on the GPU: a number for each role, and what lies between them. */
  get bytes(): number {
    return this.#buffers().reduce((sum, { size }) => sum + size, 0);
  }

  get(name: string): Parameter {
    const found = this.#byName.get(name);
    if (found === undefined) throw new RangeError(`no parameter ${name}`);
    return found;
  }

  /** Writes a tensor: rows · cols numbers, row by row without gaps. */
  write(name: string, role: ParameterRole, numbers: Float32Array<ArrayBuffer>): void {
    const { shape, [role]: tensor } = this.get(name);
    const [rows, cols] = shape;
    if (numbers.length !== rows * cols) throw new RangeError(`${name}: ${numbers.length} numbers`);
    let padded = numbers;
    if (tensor.pitch !== cols) {
      padded = new Float32Array(rows * tensor.pitch);
      for (let row = 0; row < rows; row++) {
        padded.set(numbers.subarray(row * cols, (row + 1) * cols), row * tensor.pitch);
      }
    }
    this.#gpu.write(tensor.buffer, padded, tensor.offset * 4);
  }

  /** Reads a tensor back: rows · cols numbers, row by row without gaps. @throws RandloraError `gpu` */
  async read(name: string, role: ParameterRole = "value"): Promise<Float32Array<ArrayBuffer>> {
    const { shape, [role]: tensor } = this.get(name);
    return readRows(this.#gpu, tensor, 0, shape[0]);
  }

  /** Gives the memory back. */
  release(): void {
    for (const buffer of this.#buffers()) this.#gpu.memory.release(buffer);
  }

  #buffers(): DeviceBuffer[] {
    return [...new Set(this.chunks.flatMap((chunk) => ROLES.map((role) => chunk[role])))];
  }
}

interface Group {
  size: number;
  readonly isHead: boolean;
  readonly rate: number;
  readonly members: { readonly plan: ParameterPlan; readonly offset: number }[];
}

/** Fills chunk after chunk, in the given order; what is trained at another rate has chunks of its own. */
function groups(plans: readonly ParameterPlan[], most: number): Group[] {
  const all: Group[] = [];
  for (const plan of plans) {
    const [rows, cols] = plan.shape;
    const size = Math.ceil((rows * pitchOf(cols, "F32")) / ALIGNMENT) * ALIGNMENT;
    const { isHead = false, rate = 1 } = plan;
    let group = all.findLast((other) => other.isHead === isHead && other.rate === rate);
    if (group === undefined || (group.size + size) * 4 > most) {
      group = { size: 0, isHead, rate, members: [] };
      all.push(group);
    }
    group.members.push({ plan, offset: group.size });
    group.size += size;
  }
  return all;
}
