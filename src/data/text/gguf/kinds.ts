/** llama.cpp's numbers of kinds of tokens (`tokenizer.ggml.token_type`). */
export const TOKEN_KINDS = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** A vocabulary as GGUF has it: by id. */
export interface Vocabulary {
  readonly tokens: string[];
  readonly kinds: number[];
  /** Of SentencePiece's: which pair is merged first. */
  readonly scores?: number[];
}

/** Tokens that are control tokens whatever their file says, as llama.cpp's converter has it. */
export function looksSpecial(text: string): boolean {
  return /^(?:<pad>|<mask>|<2mass>|\[@BOS@\])$|^<\|.*\|>$|^<｜.*｜>$|^<unused.*>$/su.test(text);
}
