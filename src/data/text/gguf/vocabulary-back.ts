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
 */
export function readVocabulary({ tokens, kinds }: Vocabulary, blank: string): ReadVocabulary {
  const vocab = new Map<string, number>();
  const added: AddedToken[] = [];
  const isAdded = (id: number) => kinds[id] === TOKEN_KINDS.control || kinds[id] === TOKEN_KINDS.userDefined;
  const add = (text: string, id: number) => void (vocab.has(text) || vocab.set(text, id));
  for (const [id, text] of tokens.entries()) {
    if (!isAdded(id) && kinds[id] !== TOKEN_KINDS.unused) add(text, id);
  }
  for (const [id, content] of tokens.entries()) {
    if (!isAdded(id) || content === "") continue;
    const special = kinds[id] === TOKEN_KINDS.control;
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
  const scoreOf = new Map<string, number>();
  const idOf = new Map<string, number>();
  for (const [id, text] of tokens.entries()) {
    if (kinds[id] !== TOKEN_KINDS.normal || text === "" || idOf.has(text)) continue;
    idOf.set(text, id);
    scoreOf.set(text, scores[id] ?? 0);
  }
  const merges: { readonly pair: [string, string]; readonly score: number; readonly ids: [number, number] }[] = [];
  for (const [text, score] of scoreOf) {
    if (text.length > LONGEST_MERGED) continue;
    for (let cut = 1; cut < text.length; cut++) {
      const [left, right] = [text.slice(0, cut), text.slice(cut)];
      const ids = [idOf.get(left), idOf.get(right)] as const;
      if (ids[0] !== undefined && ids[1] !== undefined) {
        merges.push({ pair: [left, right], score, ids: [ids[0], ids[1]] });
      }
    }
  }
  const sizes = ({ pair: [left, right] }: (typeof merges)[number]) => [
    Array.from(left).length,
    Array.from(right).length,
  ];
  merges.sort((a, b) => {
    if (a.score !== b.score) return b.score - a.score;
    const [[left = 0, right = 0], [otherLeft = 0, otherRight = 0]] = [sizes(a), sizes(b)];
    return otherLeft - left || otherRight - right || a.ids[0] - b.ids[0] || a.ids[1] - b.ids[1];
  });
  return merges.map(({ pair }) => pair);
}
