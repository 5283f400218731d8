import type { DeviceBuffer } from "../../compute/device/device.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import { shapeElements } from "../../files/safetensors/header.ts";
import type { Adapter, AdapterTensor } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { groupExperts } from "../base/experts.ts";
import type { ExpertAddend } from "../delta/low-rank/linears.ts";
import { memoryTensor, readAllValues } from "../files/tensors.ts";
import type { ParameterPlan, Parameters } from "../method/parameters.ts";
import { LORA_TENSORS } from "./config.ts";
import { expertsOfB, storedB } from "./experts.ts";
import type { LoraLayer, LoraPlan } from "./plan.ts";

/** Factors of all experts' matrices under training, those of one expert below the other's: what grouped products take. */
export interface ExpertStack {
  readonly name: string;
  /** Of each expert's matrix. */
  readonly out: number;
  readonly in: number;
  readonly experts: number;
  readonly rank: number;
  readonly scale: number;
  /** (experts · r, in), and (experts · out, r). */
  readonly a: ParameterPlan;
  readonly b: ParameterPlan;
  /** A tensor of the checkpoint that is, or belongs to, the matrix of all experts, and the first column of its product. */
  readonly tensor: string;
  readonly firstColumn: number;
  /** Those of the experts, where the file has factors of each. */
  readonly layers: readonly LoraLayer[];
  /** As the file has them: those of all experts together, or of each. */
  readonly parts: readonly LoraLayer["tensors"][];
}

/**
 * An adapter's factors for training: those of experts in stacks, whether its file has them for all experts of a layer or for
 * each, and the others as they are.
 * @throws RandloraError `usage` where some experts of a matrix are adapted and others are not
 */
export function stackExperts(
  { layers, experts: together }: LoraPlan,
  base: BaseModel,
): { readonly layers: readonly LoraLayer[]; readonly stacks: readonly ExpertStack[] } {
  const { groups, others } = groupExperts(layers, base);
  const ofAll = together.map(({ parameter, prefix, tensors, rank, scale }) => {
    const { module, name, experts, out, in: input, tensors: weights } = parameter;
    const place = { tensor: itemAt(weights, 0), firstColumn: 0, layers: [], parts: [tensors] };
    return stackOf(prefix, { name: `${module}.${name}`, experts, out, in: input, rank, scale, ...place });
  });
  const ofEach = groups.map(({ name, experts, layers: own, firstColumn }) => {
    const { out, in: input, rank, scale, tensor } = itemAt(own, 0);
    if (own.some((layer) => layer.rank !== rank || layer.scale !== scale)) {
      const cause = `experts are adapted in ${quote(name)} at several ranks or scales`;
      throw new RandloraError("usage", cause, "merge the adapter, and train a new one");
    }
    const place = { tensor, firstColumn, layers: own, parts: own.map(({ tensors }) => tensors) };
    return stackOf(name, { name, experts, out, in: input, rank, scale, ...place });
  });
  return { layers: others, stacks: [...ofAll, ...ofEach] };
}

function stackOf(prefix: string, stack: Omit<ExpertStack, "a" | "b">): ExpertStack {
  const { experts, out, in: input, rank } = stack;
  return {
    ...stack,
    a: { name: `${prefix}.${LORA_TENSORS.names.a}`, shape: [experts * rank, input] },
    b: { name: `${prefix}.${LORA_TENSORS.names.b}`, shape: [experts * out, rank] },
  };
}

/** Writes what stacks begin with. @throws RandloraError `numeric`, `file` */
export async function writeStacks(
  parameters: Parameters,
  adapter: Adapter,
  stacks: readonly ExpertStack[],
): Promise<void> {
  for (const stack of stacks) {
    const { a, b, parts } = stack;
    const [ofA, ofB] = [new Float32Array(shapeElements(a.shape)), new Float32Array(shapeElements(b.shape))];
    for (const [at, tensors] of parts.entries()) {
      const values = await readAllValues(adapter, tensors);
      ofA.set(values.a, at * values.a.length);
      ofB.set(parts.length === 1 ? expertsOfB(values.b, stack) : values.b, at * values.b.length);
    }
    parameters.write(a.name, "value", ofA);
    parameters.write(b.name, "value", ofB);
  }
}

/** Stacks as passes add them, by the matrices of all experts. @param weights by their names in the checkpoint */
export function addendsOf(
  parameters: Parameters,
  stacks: readonly ExpertStack[],
  weights: ReadonlyMap<string, Tensor>,
  factor: number,
): ReadonlyMap<DeviceBuffer, readonly ExpertAddend[]> {
  const addends = new Map<DeviceBuffer, ExpertAddend[]>();
  for (const { a, b, scale, tensor, firstColumn, out: columns } of stacks) {
    const matrix = weights.get(tensor);
    if (matrix === undefined) throw new RangeError(`no weight ${tensor}`);
    const own = addends.get(matrix.buffer) ?? [];
    addends.set(matrix.buffer, own);
    const [ofA, ofB] = [parameters.get(a.name).value, parameters.get(b.name).value];
    own.push({ a: ofA, b: ofB, scale: scale * factor, firstColumn, columns });
  }
  return addends;
}

/** The tensors of a file with what stacks hold now. @throws RandloraError `gpu` */
export async function savedStacks(parameters: Parameters, stacks: readonly ExpertStack[]): Promise<AdapterTensor[]> {
  const tensors: AdapterTensor[] = [];
  for (const stack of stacks) {
    const { a, b, parts } = stack;
    const [ofA, ofB] = [await parameters.read(a.name), await parameters.read(b.name)];
    const written = { a: ofA, b: parts.length === 1 ? storedB(ofB, stack) : ofB };
    for (const [at, of] of parts.entries()) {
      tensors.push(...(["a", "b"] as const).map((side) => tensorOf(of[side], written[side], at)));
    }
  }
  return tensors;
}

/** @param at which part of the values it has: those of others are as large */
function tensorOf({ name, shape }: AdapterTensor, values: Float32Array, at: number): AdapterTensor {
  const size = shapeElements(shape);
  return memoryTensor(name, "F32", shape, new Uint8Array(values.slice(at * size, (at + 1) * size).buffer));
}
