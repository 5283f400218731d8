import { type BaseModel, isInputEmbedding, isOutputEmbedding, outputEmbeddingOf } from "../base/base.ts";
import { RandloraError } from "../../files/errors.ts";
import type { Dtype } from "../../files/safetensors/dtype.ts";
import { oneLine, quote } from "../../files/failure.ts";

/** What adapters do to a base, by tensor names. */
export interface Changes {
  /** Tensors that ΔW is added to. */
  readonly adapted: ReadonlySet<string>;
  /** Tensors that an adapter brings whole. */
  readonly replaced: ReadonlySet<string>;
  /** Those of them whose output embedding changes with them. */
  readonly tied?: ReadonlySet<string>;
}

/** A tensor that was another one's twin, and must now be written for itself. */
export interface Twin {
  readonly tensor: string;
  readonly source: string;
  /** Does it have the values that `source` gets, or those that it had? */
  readonly values: "new" | "old";
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** What becomes of a model's tied embeddings. */
export interface Untying {
  readonly twins: readonly Twin[];
  /** The embeddings end up unequal: config.json must say so. */
  readonly untied: boolean;
  readonly notes: readonly string[];
}

/**
 * Models that, in config.json, say with `tie_word_embeddings` whether what goes into their output embedding is scaled:
 * transformers reads it so even where it no longer ties by it (models/t5/configuration_t5.py, 5.24).
 */
const SCALED_WHEN_TIED: ReadonlySet<unknown> = new Set(["t5", "mt5", "umt5", "longt5", "switch_transformers", "udop"]);

/**
 * Decides what a tied model needs so that an adapter changes what it was trained on, and nothing that is tied to it.
 * @throws RandloraError `adapter` for a model that cannot be untied
 */
export function untie(base: BaseModel, changes: Changes): Untying {
  const changed = [...changes.adapted, ...changes.replaced];
  const inputs = [...changes.replaced].filter((tensor) => isInputEmbedding(tensor) && base.tensors.has(tensor));
  const head = keptHead(
    base,
    changes,
    inputs.filter((tensor) => changes.tied?.has(tensor) !== true),
  );
  const added = [...changed.filter((tensor) => !base.tensors.has(tensor)), ...head.map(({ tensor }) => tensor)];
  const heads = added.filter(isHead);
  const untied = heads.length > 0 || changesStoredPair(base, changed);
  const model = base.config?.["model_type"];
  if (untied && SCALED_WHEN_TIED.has(model) && base.config?.["tie_word_embeddings"] !== false) {
    const cause = `the output embedding would no longer be tied, and a ${String(model)} scales what goes into a tied one`;
    const hint = "no config.json says the one without the other: adapt this model without its output embedding";
    throw new RandloraError("adapter", `${oneLine(base.path)}: ${cause}`, hint);
  }
  const biases = heads.flatMap((tensor) => twinBias(base, tensor)).filter(({ tensor }) => !added.includes(tensor));
  return { twins: [...head, ...biases], untied, notes: followers(base, inputs) };
}

/** An input embedding that is replaced leaves the output embedding tied to it with the old values. */
function keptHead(base: BaseModel, { adapted, replaced }: Changes, inputs: readonly string[]): Twin[] {
  const module = outputEmbeddingOf(base.config);
  if (module === undefined || base.config?.["tie_word_embeddings"] === false) return [];
  const tensor = `${module}.weight`;
  if ([base.tensors, adapted, replaced].some((names) => names.has(tensor))) return [];
  return inputs.flatMap((source) => twin(base, tensor, source, "old"));
}

/** BERT's and RoBERTa's heads hold their bias twice, `decoder.bias` being tied to the one above it. */
function twinBias(base: BaseModel, head: string): Twin[] {
  if (!head.endsWith(".decoder.weight")) return [];
  const above = head.slice(0, -"decoder.weight".length);
  const tensor = `${above}decoder.bias`;
  return base.tensors.has(tensor) ? [] : twin(base, tensor, `${above}bias`, "new");
}

function twin(base: BaseModel, tensor: string, source: string, values: Twin["values"]): Twin[] {
  const info = base.tensors.get(source);
  return info === undefined ? [] : [{ tensor, source, values, dtype: info.dtype, shape: info.shape }];
}

/** Is one of a pair changed that is stored twice, although it is tied? */
function changesStoredPair({ tensors, config }: BaseModel, changed: readonly string[]): boolean {
  const tied = config?.["tie_word_embeddings"] === true && [...tensors.keys()].some(isHead);
  return tied && changed.some((name) => isHead(name) || isInputEmbedding(name));
}

/** Is this the weight of an output embedding? */
function isHead(tensor: string): boolean {
  return tensor.endsWith(".weight") && isOutputEmbedding(tensor.slice(0, -".weight".length));
}

/** Where nothing tells what is tied to a replaced embedding, the user must know that it changes as well. */
function followers({ config, tensors }: BaseModel, inputs: readonly string[]): string[] {
  if (config?.["tie_word_embeddings"] === false || [...tensors.keys()].some(isHead)) return [];
  const architectures = config?.["architectures"];
  const name = Array.isArray(architectures) ? String(architectures[0]) : "";
  const known = outputEmbeddingOf(config) !== undefined || !/(?:LM|Generation|PreTraining)$/.test(name);
  if (config !== undefined && known) return [];
  const where = config === undefined ? "" : ` in ${name}`;
  return inputs.map((tensor) => `tensor ${quote(tensor)} is replaced: what is tied to it${where} changes with it`);
}
