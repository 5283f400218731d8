import { join } from "node:path";
import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { MAX_SETTINGS_BYTES, readJson } from "../../files/read-whole.ts";
import type { Dtype } from "../../files/safetensors/dtype.ts";
import { HEAD_BIAS, HEAD_WEIGHT } from "../../models/vision/config.ts";
import { type BaseModel, isInputEmbedding, isOutputEmbedding, modelTypeOf, outputEmbeddingOf } from "../base/base.ts";
import { CLASSES_FILE, hasClasses } from "../files/classes-file.ts";

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

/** A classifier that a model gets from an adapter. */
export interface NewHead {
  /** transformers' class that has it; undefined: there is none, or the base has a head already, whose place it takes. */
  readonly architecture: string | undefined;
  readonly classes: number;
  /** The folder of the adapter. */
  readonly from: string;
}

/** Shapes of an adapter's own tensors, by the checkpoint's names. */
type Added = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** transformers' classes of models of images with a classifier, and what that reads, in widths of the encoder. */
const CLASSES: Readonly<
  Record<string, { readonly architecture: string; readonly widths: number; readonly norm: string }>
> = {
  clip: { architecture: "CLIPForImageClassification", widths: 1, norm: "vision_model.post_layernorm.weight" },
  dinov2: { architecture: "Dinov2ForImageClassification", widths: 2, norm: "layernorm.weight" },
};

/** transformers' class for models of this type with its own classifier; undefined: there is none. */
export function headArchitecture(type: string): string | undefined {
  return Object.hasOwn(CLASSES, type) ? CLASSES[type]?.architecture : undefined;
}

/** The head that a model without one gets; undefined where what is added is none. @param from the adapter's folder */
export function newHead(base: BaseModel, added: Added, from: string | undefined): NewHead | undefined {
  const type = modelTypeOf(base) ?? "";
  const kind = Object.hasOwn(CLASSES, type) ? CLASSES[type] : undefined;
  const [classes, features] = added.get("classifier.weight")?.shape ?? [];
  const [width] = base.tensors.get(kind?.norm ?? "")?.shape ?? [];
  const [biases] = added.get("classifier.bias")?.shape ?? [];
  if (kind === undefined || width === undefined || classes === undefined || from === undefined) return undefined;
  const isKnown = features === kind.widths * width && biases === classes;
  return { architecture: isKnown ? kind.architecture : undefined, classes, from };
}

/** The head of an adapter that takes the place of the base's own; undefined for a base without one. @param from its folder */
export function otherHead(base: BaseModel, from: string | undefined): NewHead | undefined {
  const [classes] = base.tensors.get("classifier.weight")?.shape ?? [];
  if (classes === undefined || from === undefined || headArchitecture(modelTypeOf(base) ?? "") === undefined)
    return undefined;
  return { architecture: undefined, classes, from };
}

/**
 * Refuses a head of which one half is an adapter's and the other the base's, or another adapter's.
 * @param replacedBy the adapter that brings a tensor
 * @throws RandloraError `adapter`
 */
export function refuseMixedHead(base: BaseModel, replacedBy: ReadonlyMap<string, string>): void {
  if (headArchitecture(modelTypeOf(base) ?? "") === undefined) return;
  const halves = [HEAD_WEIGHT, HEAD_BIAS];
  if (!halves.every((name) => base.tensors.has(name) || replacedBy.has(name))) return;
  const [weight, bias] = halves.map((name) => replacedBy.get(name));
  if (weight === bias) return;
  const cause = `${quote(HEAD_WEIGHT)} and ${quote(HEAD_BIAS)} are of two heads: an adapter brings one of them alone`;
  throw new RandloraError("adapter", cause, "name the model without its head");
}

/**
 * The names of a head's classes: those of {@link CLASSES_FILE} beside the adapter, else transformers' LABEL_0 and so on;
 * undefined: those that the base has.
 * @throws RandloraError `format` for a file that is no list of as many names
 */
export async function labelsOf({ from, classes, architecture }: NewHead): Promise<readonly string[] | undefined> {
  const named = await classesBeside(from, classes);
  if (named !== undefined || architecture === undefined) return named;
  return Array.from({ length: classes }, (_, index) => `LABEL_${index}`);
}

/**
 * What {@link CLASSES_FILE} in the folder of an adapter calls the rows of its head; undefined without the file.
 * @throws RandloraError `format` for a file that is no list of as many names
 */
export async function classesBeside(folder: string, classes: number): Promise<readonly string[] | undefined> {
  const path = join(folder, CLASSES_FILE);
  if (!(await hasClasses(folder))) return undefined;
  const hint = "it is a JSON array of names, one for each row of the head";
  const names = v.safeParse(v.array(v.string()), await readJson(path, MAX_SETTINGS_BYTES, hint));
  if (!names.success) throw new RandloraError("format", `${oneLine(path)}: not an array of names`, hint);
  if (names.output.length === classes) return names.output;
  throw new RandloraError("format", `${oneLine(path)}: ${names.output.length} names for ${classes} classes`, hint);
}
