import { type DecoderConfig, isOfOtherPart } from "../../models/decoder/config.ts";
import { isJsonObject } from "../../files/json.ts";
import { plannedMatrices } from "../../models/decoder/weight-plan.ts";
import type { PlannedMatrix } from "../../models/tensor-plan.ts";
import type { CountedTensor } from "./tensor-groups.ts";

/** The experts of a mixture, and what of the model a token goes through. */
export interface ExpertCounts {
  /** Of a layer, and those of them that a token goes to; undefined: nothing says it. */
  readonly count: number;
  readonly chosen: number | undefined;
  /** In all experts of all layers. */
  readonly parameters: number;
  /** Of the whole model, those that a token goes through. */
  readonly active: number | undefined;
}

/** Names of an expert's tensors, or of those of all experts, in most models. */
const OF_EXPERT = /\.experts\.(?:(\d+)\.)?/;

/**
 * Counts the experts of a checkpoint; undefined: it has none.
 * @param config of a model that can be run; else names of tensors and the usual settings of `json`, config.json, say it
 */
export function countExperts(
  config: DecoderConfig | undefined,
  json: Readonly<Record<string, unknown>> | undefined,
  tensors: readonly CountedTensor[],
): ExpertCounts | undefined {
  const known = config && expertsOf(config);
  const isOne = known
    ? ({ name }: CountedTensor) => known.names.has(name)
    : ({ name }: CountedTensor) => OF_EXPERT.test(name);
  const experts = tensors.filter(isOne);
  const { count, chosen } = known ?? saidIn(json, experts);
  if (experts.length === 0 || count === undefined) return undefined;
  const parameters = experts.reduce((sum, tensor) => sum + elementsOf(tensor), 0);
  const all = tensors.reduce((sum, tensor) => sum + elementsOf(tensor), 0);
  const idle = chosen === undefined ? undefined : parameters * (1 - chosen / count);
  return { count, chosen, parameters, active: idle === undefined ? undefined : Math.round(all - idle) };
}

/**
 * Bytes of weights that are read for a token that is decoded, as they are stored: those of its own experts, and a row of learned
 * positions, of a table for all layers and of an embedding that is no output matrix as well.
 */
export function bytesOfToken(config: DecoderConfig, tensors: readonly CountedTensor[]): number {
  const experts = expertsOf(config);
  const { head, embedding, positions, layerTable, vocabularySize, contextLength } = config;
  const tables = new Map([
    ...(head === undefined ? [] : namesOf(embedding)).map((name) => [name, vocabularySize] as const),
    ...(layerTable?.parts ?? []).map(({ name, rows }) => [name, rows] as const),
    ...(positions === undefined ? [] : namesOf(positions)).map((name) => [name, contextLength] as const),
  ]);
  const planned = new Set(plannedMatrices(config).flatMap(namesOf));
  return tensors.reduce((sum, { name, bytes }) => {
    if (!planned.has(name) || isOfOtherPart(config, name)) return sum;
    const rows = tables.get(name);
    if (rows !== undefined) return sum + bytes / rows;
    return sum + (experts?.names.has(name) === true ? (bytes * experts.chosen) / experts.count : bytes);
  }, 0);
}

function expertsOf({ layers }: DecoderConfig) {
  const mixers = layers.flat().flatMap(({ mixer }) => (mixer.kind === "experts" ? [mixer] : []));
  const [first] = mixers;
  if (first === undefined) return undefined;
  const all = mixers.flatMap(({ gateUp, gateUpBias, down, downBias }) => [gateUp, gateUpBias, down, downBias]);
  const names = new Set(all.flatMap((matrix) => matrix?.parts ?? []).map(({ name }) => name));
  return { count: first.count, chosen: first.chosen, names };
}

/** By transformers' names of settings, also of a text decoder's; else the numbers in names of tensors. */
function saidIn(json: Readonly<Record<string, unknown>> | undefined, experts: readonly CountedTensor[]) {
  const text = json?.["text_config"];
  const settings = { ...json, ...(isJsonObject(text) ? text : {}) };
  const first = (...names: readonly string[]) =>
    names
      .map((name) => settings[name])
      .find((value) => typeof value === "number" && value > 0 && Number.isInteger(value));
  const numbers = experts.map(({ name }) => Number(OF_EXPERT.exec(name)?.[1] ?? NaN));
  const highest = numbers.reduce((most, number) => (number > most ? number : most), -1);
  const count =
    first("num_experts", "num_local_experts", "n_routed_experts") ?? (highest < 0 ? undefined : highest + 1);
  const chosen = first("num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_topk", "moe_k");
  return { count: numberOf(count), chosen: numberOf(chosen) };
}

const numberOf = (value: unknown) => (typeof value === "number" ? value : undefined);

function namesOf({ parts }: PlannedMatrix): string[] {
  return parts.map(({ name }) => name);
}

function elementsOf({ shape }: CountedTensor): number {
  return shape.reduce((product, size) => product * size, 1);
}
