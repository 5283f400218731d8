/** llama.cpp's numbers of kinds of tokens (`tokenizer.ggml.token_type`). */
export const TOKEN_KINDS = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** Where the metadata has what of a tokenizer. */
export const KEYS = {
  model: "tokenizer.ggml.model",
  pre: "tokenizer.ggml.pre",
  tokens: "tokenizer.ggml.tokens",
  scores: "tokenizer.ggml.scores",
  kinds: "tokenizer.ggml.token_type",
  merges: "tokenizer.ggml.merges",
  spacePrefix: "tokenizer.ggml.add_space_prefix",
  addBos: "tokenizer.ggml.add_bos_token",
  addEos: "tokenizer.ggml.add_eos_token",
  template: "tokenizer.chat_template",
  toolUse: "tokenizer.chat_template.tool_use",
  templateNames: "tokenizer.chat_templates",
} as const;

/** Special tokens: their names in GGUF's `tokenizer.ggml.NAME_token_id`, and in tokenizer_config.json. */
export const SPECIAL_TOKENS = {
  bos: "bos_token",
  eos: "eos_token",
  unknown: "unk_token",
  padding: "pad_token",
} as const;

/** Where the metadata has the id of a special token. */
export function idKey(name: string): string {
  return `tokenizer.ggml.${name}_token_id`;
}

/** `tokenizer.ggml.model`: byte-level BPE, SentencePiece's, and that with its merges, as Gemma 4 has it. */
export const MODELS = { byteLevel: "gpt2", sentencePiece: "llama", merged: "gemma4" } as const;

/** Gemma 4's control tokens that llama.cpp's converter writes as user-defined ones: its parsers of chats must see them. */
export const GEMMA4_SHOWN: ReadonlySet<string> = new Set([
  "<|channel>",
  "<channel|>",
  "<|tool_call>",
  "<tool_call|>",
  "<|tool_response>",
  "<tool_response|>",
  '<|"|>',
]);

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
