import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { type BaseModel, isEmbedding, isInputEmbedding, isOutputEmbedding, outputEmbeddingOf } from "./base.ts";
import { type PathShift, shiftPath } from "./module-paths.ts";
import type { Adapter, AdapterTensor } from "../files/adapter.ts";

/** A tensor that takes the place of one of the base's: a module saved whole (`modules_to_save`), a bias, an embedding. */
export interface Replacement {
  /** The checkpoint's name for it. */
  readonly tensor: string;
  readonly from: AdapterTensor;
  /** False where the base has no such tensor: a new head, or an output embedding that was tied. */
  readonly exists: boolean;
  /** It is one of two embeddings that stay tied, and the other is replaced, too; false where it is left out. */
  readonly tied?: boolean;
}

/** What decides which of an adapter's tensors are not the method's own. */
export interface ReplacementRules {
  /** Is this tensor the method's own (λ, γ, shared bases, factors)? */
  readonly isOwn: (name: string) => boolean;
  /** The adapted modules, as the adapter names them. */
  readonly modules: ReadonlySet<string>;
  readonly modulesToSave: readonly string[];
  /** Biases are trained too. */
  readonly bias: boolean;
}

const BASE_LAYER = ".base_layer.";
const SAVED_MODULE = ".modules_to_save.";

/**
 * The tensors of an adapter that replace the base's. PEFT stores `base_layer.weight` of an adapted output embedding:
 * that is the base's own and changes nothing. Throws `RandloraError` "adapter" for a tensor that nothing explains, and
 * for one whose shape is not that of the base's.
 */
export function findReplacements(
  adapter: Adapter,
  rules: ReplacementRules,
  base: BaseModel,
  shift: PathShift,
): Replacement[] {
  const replacements: Replacement[] = [];
  for (const [name, from] of adapter.tensors) {
    if (rules.isOwn(name) || isWrappersOwn(name, adapter)) continue;
    const plain = name.replace(BASE_LAYER, ".").replace(SAVED_MODULE, ".");
    const module = plain.slice(0, plain.lastIndexOf("."));
    const isBias = plain.endsWith(".bias") && rules.bias;
    const isCopy = name.includes(BASE_LAYER) && rules.modules.has(module) && !isBias;
    if (!isCopy && !isBias && !isSaved(plain, module, rules)) throw unexplained(adapter, name);
    const tensor = [shiftPath(plain, shift), plain].find((candidate) => base.tensors.has(candidate));
    const shape = base.tensors.get(tensor ?? "")?.shape;
    if (shape !== undefined && !sameShape(shape, from.shape)) {
      const ours = `tensor ${quote(name)} has shape [${from.shape.join(", ")}]`;
      const theirs = `${quote(tensor ?? "")} of ${oneLine(base.path)} has [${shape.join(", ")}]`;
      const hint = "the adapter was made for another model, or for one with a resized vocabulary";
      throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${ours}, but ${theirs}`, hint);
    }
    if (!isCopy) replacements.push({ tensor: tensor ?? shiftPath(plain, shift), from, exists: tensor !== undefined });
  }
  return replacements;
}

/**
 * With `bias: "all"` PEFT saves the biases of a module that is saved whole three times: under its name, and both that of
 * the wrapper's trained copy, which is the same, and that of the original, which nothing uses.
 */
function isWrappersOwn(name: string, { tensors }: Adapter): boolean {
  return (
    name.includes(".original_module.") || (name.includes(SAVED_MODULE) && tensors.has(name.replace(SAVED_MODULE, ".")))
  );
}

/** Is this tensor of a module that is saved whole? PEFT wraps every module whose path ends with one of the names. */
function isSaved(name: string, module: string, { modulesToSave }: ReplacementRules): boolean {
  if (modulesToSave.some((saved) => name.includes(`${saved}.`))) return true;
  // Without being asked PEFT saves the embeddings of a model whose vocabulary was resized.
  return isEmbedding(module) || isOutputEmbedding(module);
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

function unexplained(adapter: Adapter, name: string): RandloraError {
  const cause = `tensor ${quote(name)} belongs to no adapted or saved module`;
  return new RandloraError(
    "adapter",
    `${oneLine(adapter.file)}: ${cause}`,
    "the file mixes two adapters or two methods",
  );
}

/**
 * What `ensure_weight_tying` makes of them: the embeddings of a tied base are both replaced by one tensor, the input's where
 * there are two (PEFT loads one after the other into one parameter). Those of an untied base stay as they are.
 */
export function tiedReplacements(replacements: readonly Replacement[], base: BaseModel): readonly Replacement[] {
  const module = outputEmbeddingOf(base.config);
  const input = [...base.tensors.keys()].find(isInputEmbedding);
  if (module === undefined || input === undefined) return replacements;
  const output = `${module}.weight`;
  const exists = base.tensors.has(output);
  const tie = base.config?.["tie_word_embeddings"];
  if (tie === false || (exists && tie !== true)) return replacements;
  const fromOf = (name: string) => replacements.find(({ tensor }) => tensor === name)?.from;
  const [own, head] = [fromOf(input), fromOf(output)];
  const from = own ?? head;
  if (from === undefined) return replacements;
  return [
    ...replacements.filter(({ tensor }) => tensor !== input && tensor !== output),
    { tensor: input, from, exists: true, tied: true },
    { tensor: output, from: head ?? from, exists, tied: true },
  ];
}

/** Bytes of tensors that are compared at once. */
const COMPARED = 8 * 2 ** 20;

/**
 * The same of an adapter that brings one embedding under both names, as PEFT saves those of a tied model whose vocabulary was
 * resized: they stay tied where it adapts neither.
 * @throws RandloraError `file`
 */
export async function stayingTied<
  P extends { readonly layers: readonly { readonly tensor: string }[]; readonly replacements: readonly Replacement[] },
>(plan: P, base: BaseModel): Promise<P> {
  const tied = tiedReplacements(plan.replacements, base);
  if (tied === plan.replacements) return plan;
  const [own, head] = tied.slice(-2);
  const isReplaced = (one: Replacement | undefined) => plan.replacements.some(({ tensor }) => tensor === one?.tensor);
  const isAdapted = plan.layers.some(({ tensor }) => tensor === own?.tensor || tensor === head?.tensor);
  if (own === undefined || head === undefined || !isReplaced(own) || !isReplaced(head) || isAdapted) return plan;
  return (await haveSameValues(own.from, head.from)) ? { ...plan, replacements: tied } : plan;
}

async function haveSameValues(one: AdapterTensor, other: AdapterTensor): Promise<boolean> {
  if (one.dtype !== other.dtype || !sameShape(one.shape, other.shape)) return false;
  for (let start = 0; start < one.bytes; start += COMPARED) {
    const size = Math.min(COMPARED, one.bytes - start);
    const parts = [new Uint8Array(size), new Uint8Array(size)] as const;
    await Promise.all([one.read(parts[0], start), other.read(parts[1], start)]);
    if (Buffer.compare(...parts) !== 0) return false;
  }
  return true;
}

/** An adapter without what it replaces whole: as if its method's own tensors were all of it. */
export function withoutReplacements(adapter: Adapter, replacements: readonly Replacement[]): Adapter {
  if (replacements.length === 0) return adapter;
  const replacing = new Set(replacements.map(({ from }) => from));
  const keys = { bias: "none", modules_to_save: null };
  return {
    ...adapter,
    config: { ...adapter.config, ...keys },
    settings: { ...adapter.settings, ...keys },
    tensors: new Map([...adapter.tensors].filter(([, tensor]) => !replacing.has(tensor))),
  };
}
