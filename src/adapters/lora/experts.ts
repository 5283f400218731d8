import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import type { Adapter, AdapterTensor } from "../files/adapter.ts";
import type { BaseModel } from "../base/base.ts";
import { type ExpertParameter, expertParameters, factorPrefixes, isTargetParameter } from "../base/experts.ts";
import type { AdaptedLayer } from "../base/targets.ts";
import type { FactorRows, LowRankLayer } from "../delta/low-rank/product.ts";
import { readAllValues, readValues } from "../files/tensors.ts";
import { requireShapes } from "../method/fit.ts";
import { LORA_TENSORS, type LoraConfig, rankAndScale } from "./config.ts";

/**
 * What an adapter has of the matrices of all experts of a layer (peft/tuners/lora/layer.py, ParamWrapper): ΔW of expert e, (out, in),
 * is scale · B_e A_e, its transpose where the parameter is. A (r · experts, in) has the rows of one expert after the other; of B (out, r · experts) column k · experts + e is
 * column k of B_e.
 */
export interface ExpertFactors {
  readonly parameter: ExpertParameter;
  /** What the tensors' names begin with. Of two parameters of a module PEFT wraps the first inside the second, as its `base_layer`. */
  readonly prefix: string;
  readonly tensors: Readonly<Record<"a" | "b", AdapterTensor>>;
  readonly rank: number;
  readonly scale: number;
}

/** Factors that are kept while several layers read from them. */
const MOST_KEPT = 4;

/**
 * The factors of experts that an adapter's `target_parameters` mean.
 * @throws RandloraError `adapter` for factors that fit no parameter of the base; `format` for one without the other
 */
export function findExpertFactors(adapter: Adapter, base: BaseModel, config: LoraConfig): ExpertFactors[] {
  const wanted = config.targets.parameters ?? [];
  const parameters = expertParameters(base).filter(({ module, name }) =>
    isTargetParameter(`${module}.${name}`, wanted),
  );
  const prefixes = factorPrefixes(parameters);
  return parameters.map((parameter, at) => {
    const prefix = itemAt(prefixes, at);
    const [a, b] = [LORA_TENSORS.names.a, LORA_TENSORS.names.b].map((name) => adapter.tensors.get(`${prefix}.${name}`));
    if (a === undefined || b === undefined) {
      const cause = `no factors ${quote(prefix)} of ${parameter.name}, which target_parameters names`;
      throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "it was made for another model");
    }
    const path = `${parameter.module}.${parameter.name}`;
    const { out, in: input, dtype, experts, transposed, tensors } = parameter;
    if (transposed && tensors.length === 1) {
      const cause = `${oneLine(base.path)}: ${quote(path)} is of a model that cannot be run: its experts are stored transposed`;
      throw new RandloraError("adapter", cause, "name the model's folder, with its config.json");
    }
    const layer = {
      tensor: path,
      source: path,
      dtype,
      shape: [experts, out, input],
      module: path,
      out,
      in: input,
      conv1d: false,
      experts,
      tensors: { a, b },
    };
    requireShapes(adapter, config, LORA_TENSORS, layer, base);
    return { parameter, prefix, tensors: { a, b }, ...rankAndScale(config, path) };
  });
}

/** The weights that such factors change, as the checkpoint has them: a tensor of all experts, or those of each. */
export function expertLayers(adapter: Adapter, factors: readonly ExpertFactors[]): (AdaptedLayer & LowRankLayer)[] {
  const rowsOfB = keepingSome((one: ExpertFactors) => readExpertsOfB(adapter, one));
  return factors.flatMap((one) => layersOf(adapter, one, () => rowsOfB(one)));
}

/** Reads with the last results at hand. */
function keepingSome<K, T>(read: (key: K) => Promise<T>): (key: K) => Promise<T> {
  const kept = new Map<K, Promise<T>>();
  return (key) => {
    const values = kept.get(key) ?? read(key);
    kept.delete(key);
    kept.set(key, values);
    for (const oldest of [...kept.keys()].slice(0, -MOST_KEPT)) kept.delete(oldest);
    return values;
  };
}

function layersOf(
  adapter: Adapter,
  { parameter, tensors: { a, b }, rank, scale }: ExpertFactors,
  rowsOfB: () => Promise<Float32Array>,
): (AdaptedLayer & LowRankLayer)[] {
  const { experts, out, in: input, dtype, module, name, tensors, transposed } = parameter;
  const rows = (experts * out) / tensors.length;
  const isOne = tensors.length === 1;
  return tensors.map((tensor, at) => {
    const first = at * rows;
    // Factors of all experts, or those of the one that has these rows.
    const expert = isOne ? 0 : Math.floor(first / out);
    const count = isOne ? experts : 1;
    const ofA: FactorRows = {
      name: a.name,
      rows: count * rank,
      cols: input,
      read: (row, some) => readValues(adapter, a, (expert * rank + row) * input, some * input),
    };
    const ofB: FactorRows = {
      name: b.name,
      rows,
      cols: rank,
      read: async (row, some) => (await rowsOfB()).slice((first + row) * rank, (first + row + some) * rank),
    };
    return {
      tensor,
      source: tensor,
      dtype,
      shape: transposed ? [input, rows] : [rows, input],
      module: isOne ? `${module}.${name}` : tensor.replace(/\.weight$/, ""),
      out: rows,
      in: input,
      conv1d: transposed,
      rank,
      scale,
      ...(isOne ? { experts } : {}),
      a: ofA,
      b: ofB,
    };
  });
}

/** B as (experts · out, r): that of one expert below the other's. */
async function readExpertsOfB(adapter: Adapter, { tensors: { b }, parameter, rank }: ExpertFactors) {
  return expertsOfB((await readAllValues(adapter, { b })).b, { ...parameter, rank });
}

/** The sizes of factors. */
interface Sizes extends Pick<ExpertParameter, "experts" | "out"> {
  readonly rank: number;
}

/** PEFT's B (out, r · experts) as (experts · out, r). */
export function expertsOfB(values: Float32Array, { experts, out, rank }: Sizes): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: values.length }, (_, at) => {
    const [row, k] = [Math.floor(at / rank), at % rank];
    return itemAt(values, ((row % out) * rank + k) * experts + Math.floor(row / out));
  });
}

/** The way back. */
export function storedB(values: Float32Array, { experts, out, rank }: Sizes): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: values.length }, (_, at) => {
    const [row, column] = [Math.floor(at / (rank * experts)), at % (rank * experts)];
    return itemAt(values, ((column % experts) * out + row) * rank + Math.floor(column / experts));
  });
}
