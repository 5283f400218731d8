import { oneLine, quote } from "../../files/failure.ts";
import { RandloraError } from "../../files/errors.ts";
import type { Dtype } from "../../files/safetensors/dtype.ts";
import { type BaseModel, modelTypeOf, isInputEmbedding, isOutputEmbedding } from "./base.ts";

/** Where the weight of one module is in the checkpoint. */
export interface BaseWeight {
  /** The tensor that holds, or after an untying merge will hold, the module's weight. */
  readonly tensor: string;
  /** The tensor to read: another one than `tensor` for an output embedding tied to the input embedding. */
  readonly source: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** How an adapter's module paths become the checkpoint's: `drop` is taken off the front, `add` put there. */
export interface PathShift {
  readonly drop: string;
  readonly add: string;
  /** For paths that do not begin with `drop`. */
  readonly else?: PathShift;
  /** The `model_type` whose modules the adapter calls otherwise than the checkpoint; see spelling.ts. */
  readonly spelling?: string | undefined;
}

const NONE: PathShift = { drop: "", add: "" };

/**
 * Models of several parts, whose modules transformers calls otherwise than their checkpoints do (conversion_mapping.py,
 * 5.24): Gemma 3, LLaVA and Mistral 3; Qwen 2 VL and 2.5 VL.
 */
const PUBLISHED: PathShift = {
  drop: "model.language_model.",
  add: "language_model.model.",
  else: { drop: "lm_head", add: "language_model.lm_head", else: { drop: "model.", add: "" } },
};
const BARE: PathShift = {
  drop: "model.language_model.",
  add: "model.",
  else: { drop: "model.visual.", add: "visual." },
};
const RENAMED: readonly PathShift[] = [PUBLISHED, BARE];

/**
 * The text decoder of a model of several parts: how its modules' paths begin in the checkpoint, and how transformers' paths become
 * those; undefined: the model is not in parts.
 */
export function textPartOf({ tensors }: BaseModel): { readonly begin: string; readonly shift: PathShift } | undefined {
  const has = (begin: string) => [...tensors.keys()].some((name) => name.startsWith(begin));
  const { drop, add } = PUBLISHED;
  if (has("visual.") && has("model.layers.")) return { begin: "model.", shift: BARE };
  return has(add) ? { begin: add, shift: PUBLISHED } : has(drop) ? { begin: drop, shift: NONE } : undefined;
}

/**
 * Finds how the adapter's paths and the checkpoint's differ: not at all, or by a prefix (a base saved without its
 * language-model head lacks `model.` or `transformer.`). Throws `RandloraError` "adapter" when no prefix, or more than
 * one, fits; `adapter` is named in errors.
 */
export function findShift(modules: readonly string[], base: BaseModel, adapter: string): PathShift {
  const modelType = modelTypeOf(base);
  // A file with transformers 5's own names has no others.
  if (modules.some((module) => storedPath(module, modelType) !== module && base.tensors.has(`${module}.weight`))) {
    return shiftOf(modules, base, adapter);
  }
  const stored = modules.map((module) => storedPath(module, modelType));
  const shift = shiftOf(stored, base, adapter);
  return stored.every((module, at) => module === modules[at]) ? shift : { ...shift, spelling: modelType };
}

function shiftOf(modules: readonly string[], base: BaseModel, adapter: string): PathShift {
  const has = (module: string) => base.tensors.has(`${module}.weight`);
  // An output embedding stands outside the prefix, and may be tied and absent: it says nothing.
  const body = modules.filter((module) => !isOutputEmbedding(module));
  const [first] = body;
  if (first === undefined || body.some((module) => has(module))) return NONE;
  const renamed = RENAMED.filter(({ drop }) => body.some((module) => module.startsWith(drop)));
  const shifts = [...prefixesOf(first, base), ...renamed];
  const fits = shifts.filter((candidate) => body.every((module) => has(shiftPath(module, candidate))));
  const [shift, other] = fits;
  if (shift === undefined) throw missing(first, base, adapter);
  if (other !== undefined) {
    const both = [shift, other].map((candidate) => quote(shiftPath(first, candidate))).join(" and ");
    const hint = "the base must be the model that the adapter was trained on";
    throw new RandloraError(
      "adapter",
      `${oneLine(adapter)}: ${quote(first)} could be ${both} of ${oneLine(base.path)}`,
      hint,
    );
  }
  return shift;
}

/** The checkpoint's path of an adapter's module. */
export function shiftPath(path: string, { drop, add, else: other, spelling }: PathShift): string {
  const module = storedPath(path, spelling);
  if (module.startsWith(drop)) return add + module.slice(drop.length);
  return other === undefined ? module : shiftPath(module, other);
}

/** The adapter's path of a checkpoint's module: the way back. */
export function unshiftPath(path: string, { drop, add, else: other, spelling }: PathShift): string {
  const module = modulePath(path, spelling);
  if (module.startsWith(add)) return drop + module.slice(add.length);
  return other === undefined ? module : unshiftPath(module, other);
}

/**
 * Finds the weight of an adapted module. Throws `RandloraError` "adapter" when the base has no such module, or when it
 * is no matrix.
 */
export function findWeight(module: string, shift: PathShift, base: BaseModel, adapter: string): BaseWeight {
  for (const path of [shiftPath(module, shift), module]) {
    const tensor = `${path}.weight`;
    const info = base.tensors.get(tensor);
    if (info === undefined) continue;
    if (info.shape.length === 2) return { tensor, source: tensor, dtype: info.dtype, shape: info.shape };
    const found = `tensor ${quote(tensor)} of ${oneLine(base.path)} has shape [${info.shape.join(", ")}]`;
    throw new RandloraError(
      "adapter",
      `${oneLine(adapter)}: ${found}, not a matrix`,
      "only linear layers can be adapted",
    );
  }
  const tied = isOutputEmbedding(module) ? tiedEmbedding(base) : undefined;
  if (tied === undefined) throw missing(module, base, adapter);
  return { ...tied, tensor: `${module}.weight` };
}

/** The input embedding that an absent output embedding is tied to. */
function tiedEmbedding(base: BaseModel): Omit<BaseWeight, "tensor"> | undefined {
  if (base.config?.["tie_word_embeddings"] === false) return undefined;
  for (const [source, { dtype, shape }] of base.tensors) {
    if (isInputEmbedding(source) && shape.length === 2) return { source, dtype, shape };
  }
  return undefined;
}

/** Every shift that leads from `module` to a weight of the base. */
function prefixesOf(module: string, base: BaseModel): PathShift[] {
  const shifts: PathShift[] = [];
  for (let dot = module.indexOf("."); dot >= 0; dot = module.indexOf(".", dot + 1)) {
    const drop = module.slice(0, dot + 1);
    if (base.tensors.has(`${module.slice(drop.length)}.weight`)) shifts.push({ drop, add: "" });
  }
  const end = `.${module}.weight`;
  for (const name of base.tensors.keys()) {
    if (name.endsWith(end)) shifts.push({ drop: "", add: name.slice(0, name.length - end.length + 1) });
  }
  return shifts;
}

function missing(module: string, base: BaseModel, adapter: string): RandloraError {
  const packed = ["qweight", "weight_packed"].find((name) => base.tensors.has(`${module}.${name}`));
  if (packed !== undefined) {
    const found = `module ${quote(module)} of ${oneLine(base.path)} has ${packed} for a weight: it is quantized`;
    return new RandloraError("adapter", `${oneLine(adapter)}: ${found}`, "use the original, unquantized model");
  }
  const cause = `module ${quote(module)} is not in ${oneLine(base.path)}`;
  return new RandloraError("adapter", `${oneLine(adapter)}: ${cause}`, "the adapter was made for another model");
}

/**
 * Modules that transformers calls otherwise than checkpoints do, and than it did itself before (conversion_mapping.py;
 * DINOv2's since 5.20, routers' since 5): the name now, and the stored one.
 */
const SPELLINGS: Readonly<Record<string, readonly (readonly [now: string, stored: string])[]>> = {
  dinov2: [
    ["attention.q_proj", "attention.attention.query"],
    ["attention.k_proj", "attention.attention.key"],
    ["attention.v_proj", "attention.attention.value"],
    ["attention.o_proj", "attention.output.dense"],
  ],
  mixtral: [["mlp.gate", "block_sparse_moe.gate"]],
  granitemoe: [["block_sparse_moe.router", "block_sparse_moe.router.layer"]],
};

function renamedOf(modelType: string | undefined): readonly (readonly [now: string, stored: string])[] {
  return modelType !== undefined && Object.hasOwn(SPELLINGS, modelType) ? (SPELLINGS[modelType] ?? []) : [];
}

/** The checkpoint's path of a module, or of a tensor, that may be in either spelling. */
function storedPath(path: string, modelType: string | undefined): string {
  return renamedOf(modelType).reduce((result, [now, stored]) => {
    return `.${result}.`.includes(`.${stored}.`) ? result : replaceSegments(result, now, stored);
  }, path);
}

/** transformers 5's path of a module that may be in either spelling: what adapters are written with. */
export function modulePath(path: string, modelType: string | undefined): string {
  return renamedOf(modelType).reduce((result, [now, stored]) => replaceSegments(result, stored, now), path);
}

/** transformers 5's form of a target, which is the end of a path: `query`, `attention.query` or `attention.attention.query`. */
export function targetName(target: string, modelType: string | undefined): string {
  for (const [now, stored] of renamedOf(modelType)) {
    if (target === stored || target.endsWith(`.${stored}`)) return modulePath(target, modelType);
    if (stored.endsWith(`.${target}`)) return now.slice(now.lastIndexOf(".") + 1);
  }
  return target;
}

/** Replaces `from` where it is whole segments of a dotted path. */
function replaceSegments(path: string, from: string, to: string): string {
  return `.${path}.`.replace(`.${from}.`, `.${to}.`).slice(1, -1);
}
