import type { Tokenizer } from "../tokenizer.ts";
import type { Sample } from "./types.ts";

/** A stretch of a sample's text whose tokens are all targets of the loss, or none of them. */
export interface MarkedText {
  readonly text: string;
  readonly supervised: boolean;
  /** Number of tokens. */
  readonly tokens: number;
}

/**
 * A sample as text, special tokens included, with what is supervised: for people to read. A character whose bytes are in
 * several tokens belongs to the last of them.
 */
export function markedText(sample: Sample, tokenizer: Tokenizer): MarkedText[] {
  const detokenizer = tokenizer.detokenizer();
  const parts: { text: string; supervised: boolean; tokens: number }[] = [];
  for (const [t, id] of sample.ids.entries()) {
    const supervised = sample.supervised[t] === 1;
    const text = detokenizer.push(id);
    const last = parts.at(-1);
    if (last?.supervised === supervised) {
      last.text += text;
      last.tokens++;
    } else parts.push({ text, supervised, tokens: 1 });
  }
  const last = parts.at(-1);
  if (last !== undefined) last.text += detokenizer.flush();
  return parts;
}
