import type { DeviceBuffer } from "../../compute/device/device.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import type { Adapter, AdapterTensor } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { type ExpertGroup, groupExperts } from "../base/experts.ts";
import type { ExpertAddend } from "../delta/low-rank/linears.ts";
import { memoryTensor } from "../files/tensors.ts";
import { readAllValues } from "../files/values.ts";
import type { ParameterPlan, Parameters } from "../method/parameters.ts";
import { type ExpertFactors, expertsOfB, storedB } from "./experts.ts";
import type { LoraLayer, LoraPlan } from "./plan.ts";

type Values = Float32Array<ArrayBuffer>;

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
  /** What the adapter holds of them. @throws RandloraError `numeric`, `file` */
  read(): Promise<{ readonly a: Values; readonly b: Values }>;
  /** The tensors of an adapter's file with these values. */
  written(a: Values, b: Values): AdapterTensor[];
}

/**
 * An adapter's factors for training: those of experts in stacks, whether its file has them for all experts of a layer or for
 * each, and the others as they are.
 * @throws RandloraError `usage` where some experts of a matrix are adapted and others are not
 */
export function stackExperts(
  { adapter, layers, experts }: LoraPlan,
  base: BaseModel,
): { readonly layers: readonly LoraLayer[]; readonly stacks: readonly ExpertStack[] } {
  const { groups, others } = groupExperts(layers, base);
  const joined = groups.map((group) => stackOfEach(adapter, group));
  return { layers: others, stacks: [...experts.map((one) => stackOfAll(adapter, one)), ...joined] };
}

/** Factors that a file has together. */
function stackOfAll(adapter: Adapter, { parameter, prefix, tensors, rank, scale }: ExpertFactors): ExpertStack {
  const { module, name, experts, out, in: input } = parameter;
  const sizes = { experts, out, rank };
  const { a, b } = tensors;
  return {
    name: `${module}.${name}`,
    ...sizes,
    in: input,
    scale,
    ...planned(prefix, { ...sizes, in: input }),
    tensor: itemAt(parameter.tensors, 0),
    firstColumn: 0,
    layers: [],
    async read() {
      const values = await readAllValues(adapter, tensors);
      return { a: values.a, b: expertsOfB(values.b, sizes) };
    },
    written: (ofA, ofB) => [tensorOf(a, ofA), tensorOf(b, storedB(ofB, sizes))],
  };
}

/** Factors that a file has for each expert. */
function stackOfEach(
  adapter: Adapter,
  { name, experts, layers: own, firstColumn }: ExpertGroup<LoraLayer>,
): ExpertStack {
  const first = itemAt(own, 0);
  const { out, in: input, rank, scale } = first;
  if (own.some((layer) => layer.rank !== rank || layer.scale !== scale)) {
    const cause = `experts are adapted in ${quote(name)} at several ranks or scales`;
    throw new RandloraError("usage", cause, "merge the adapter, and train a new one");
  }
  const sizes = { experts, out, rank };
  return {
    name,
    ...sizes,
    in: input,
    scale,
    ...planned(name, { ...sizes, in: input }),
    tensor: first.tensor,
    firstColumn,
    layers: own,
    async read() {
      const [a, b] = [new Float32Array(experts * rank * input), new Float32Array(experts * out * rank)];
      for (const [expert, { tensors: of }] of own.entries()) {
        const values = await readAllValues(adapter, of);
        a.set(values.a, expert * rank * input);
        b.set(values.b, expert * out * rank);
      }
      return { a, b };
    },
    written: (a, b) =>
      own.flatMap(({ tensors: of }, expert) => [
        tensorOf(of.a, a.slice(expert * rank * input, (expert + 1) * rank * input)),
        tensorOf(of.b, b.slice(expert * out * rank, (expert + 1) * out * rank)),
      ]),
  };
}

function planned(
  name: string,
  { experts, out, in: input, rank }: Pick<ExpertStack, "experts" | "out" | "in" | "rank">,
): Pick<ExpertStack, "a" | "b"> {
  return {
    a: { name: `${name}.lora_A.weight`, shape: [experts * rank, input] },
    b: { name: `${name}.lora_B.weight`, shape: [experts * out, rank] },
  };
}

function tensorOf({ name, shape }: AdapterTensor, values: Values): AdapterTensor {
  return memoryTensor(name, "F32", shape, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
}

/** Writes what stacks begin with. @throws RandloraError `numeric`, `file` */
export async function writeStacks(parameters: Parameters, stacks: readonly ExpertStack[]): Promise<void> {
  for (const { a, b, read } of stacks) {
    const values = await read();
    parameters.write(a.name, "value", values.a);
    parameters.write(b.name, "value", values.b);
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
  for (const { a, b, written } of stacks) {
    tensors.push(...written(await parameters.read(a.name), await parameters.read(b.name)));
  }
  return tensors;
}
