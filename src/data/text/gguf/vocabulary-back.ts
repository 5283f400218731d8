import type { AddedToken } from "../tokenizer/added-tokens.ts";
import { TOKEN_KINDS, type Vocabulary } from "./kinds.ts";

/** What tokenizer.json says of a vocabulary. */
export interface ReadVocabulary {
  readonly vocab: Readonly<Record<string, number>>;
  readonly added: readonly AddedToken[];
}

/** Longer ones take no part in merges: SentencePiece makes none of more than 16 characters unless told otherwise. */
const LONGEST_MERGED = 128;

/**
 * A vocabulary of GGUF back as tokenizer.json has it. Of tokens with the same text the first has it; ids that nothing
 * uses are left out.
 * @param blank what tokens of the vocabulary have for a blank
 * @param shown control tokens that are user-defined ones there
 */
export function readVocabulary(
  { tokens, kinds }: Vocabulary,
  blank: string,
  shown?: ReadonlySet<string>,
): ReadVocabulary {
  const vocab = new Map<string, number>();
  const added: AddedToken[] = [];
  const isAdded = (id: number) => kinds[id] === TOKEN_KINDS.control || kinds[id] === TOKEN_KINDS.userDefined;
  const add = (text: string, id: number) => void (vocab.has(text) || vocab.set(text, id));
  for (const [id, text] of tokens.entries()) {
    if (!isAdded(id) && kinds[id] !== TOKEN_KINDS.unused) add(text, id);
  }
  for (const [id, content] of tokens.entries()) {
    if (!isAdded(id) || content === "") continue;
    const special = kinds[id] === TOKEN_KINDS.control || shown?.has(content) === true;
    // llama.cpp looks for them in the text as it stands.
    added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special });
    add(content.replaceAll(" ", blank), id);
  }
  return { vocab: Object.fromEntries(vocab), added };
}

/**
 * The merges that scores stand for: every way to make a token of two, the highest score first (transformers,
 * convert_slow_tokenizer.py, generate_merges).
 */
export function mergesOfScores({ tokens, kinds, scores }: Required<Vocabulary>): [string, string][] {
  const idOf = new Map<string, number>();
  for (const [id, text] of tokens.entries()) {
    if (kinds[id] === TOKEN_KINDS.normal && text !== "" && !idOf.has(text)) idOf.set(text, id);
  }
  const merges: { readonly score: number; readonly left: number; readonly right: number }[] = [];
  for (const [text, id] of idOf) {
    if (text.length > LONGEST_MERGED) continue;
    for (let cut = 1; cut < text.length; cut++) {
      const left = idOf.get(text.slice(0, cut));
      const right = left === undefined ? undefined : idOf.get(text.slice(cut));
      if (left !== undefined && right !== undefined) merges.push({ score: scores[id] ?? 0, left, right });
    }
  }
  const textOf = (id: number) => tokens[id] ?? "";
  const sizes = tokens.map((text) => (text.length > LONGEST_MERGED ? 0 : Array.from(text).length));
  const size = (id: number) => sizes[id] ?? 0;
  merges.sort(
    (a, b) =>
      b.score - a.score ||
      size(b.left) - size(a.left) ||
      size(b.right) - size(a.right) ||
      a.left - b.left ||
      a.right - b.right,
  );
  return merges.map(({ left, right }) => [textOf(left), textOf(right)]);
}
