import { quote } from "../../../files/failure.ts";
import type { GgufMetadata } from "../../../files/gguf/format.ts";
import { GgufFields } from "../../../files/gguf/metadata.ts";
import { preTokenizerPart, spaceParts } from "./definition.ts";
import { GEMMA4_SHOWN, idKey, KEYS, MODELS, SPECIAL_TOKENS, TOKEN_KINDS, type Vocabulary } from "./kinds.ts";
import { COMPOSING, PRE_TOKENIZERS, type PreTokenizer } from "./pre-tokenizers.ts";
import { mergesOfScores, readVocabulary } from "./vocabulary.ts";

/** A tokenizer's files, by name: objects that become JSON. */
export interface TokenizerFiles {
  readonly "tokenizer.json": object;
  readonly "tokenizer_config.json": object;
}

/** Four times the largest vocabularies, which have 2^18 tokens: what a damaged file says would take minutes. */
const MOST_TOKENS = 1 << 20;
const MOST_CHARACTERS = 1 << 23;

/**
 * The tokenizer and the chat template of a GGUF file as a model folder has them: `tokenizerMetadata` the other way round.
 * @param path is only named in errors
 * @throws RandloraError `model` for a kind of tokenizer that is not supported, or one that is too large, `format` for metadata that is missing or of
 *   another type
 */
export function tokenizerFiles(metadata: GgufMetadata, path: string): TokenizerFiles {
  const fields = new GgufFields(metadata, path);
  const model = fields.need(fields.string(KEYS.model), KEYS.model);
  const tokens = [...fields.need(fields.strings(KEYS.tokens), KEYS.tokens)];
  if (tokens.length > MOST_TOKENS || tokens.reduce((sum, { length }) => sum + length, 0) > MOST_CHARACTERS) {
    const most = `${MOST_TOKENS} tokens of ${MOST_CHARACTERS} characters in all are read`;
    return fields.refuse(`a vocabulary of ${tokens.length} tokens is too large`, most);
  }
  // Where a file does not say it, llama.cpp has a rule for each kind.
  const addsBos = fields.boolean(KEYS.addBos);
  const kinds = Array.from(fields.numbers(KEYS.kinds) ?? [], Number);
  const vocabulary = { tokens, kinds: tokens.map((_, id) => kinds[id] ?? TOKEN_KINDS.normal) };
  if (model === MODELS.byteLevel) {
    const pre = preOf(fields);
    return {
      "tokenizer.json": byteLevel(fields, vocabulary, pre),
      ...config(fields, tokens, addsBos ?? pre.ignoreMerges),
    };
  }
  if (model === MODELS.merged) {
    const merges = fields.need(fields.strings(KEYS.merges), KEYS.merges);
    // llama.cpp puts bos before each text, whatever a file says: published files say that it does not.
    return {
      "tokenizer.json": sentencePiece(fields, vocabulary, false, merges, GEMMA4_SHOWN),
      ...config(fields, tokens, true),
    };
  }
  if (model !== MODELS.sentencePiece) {
    const hint = `supported: ${Object.values(MODELS).join(", ")}, as in Llama, Mistral, Qwen, Phi and Gemma`;
    return fields.refuse(`a tokenizer of kind ${quote(model)}`, hint);
  }
  const scores = Array.from(fields.need(fields.numbers(KEYS.scores), KEYS.scores), Number);
  const merges = mergesOfScores({ ...vocabulary, scores });
  const starts = fields.boolean(KEYS.spacePrefix) ?? true;
  return {
    "tokenizer.json": sentencePiece(fields, vocabulary, starts, merges),
    ...config(fields, tokens, addsBos ?? true),
  };
}

interface NamedPre extends PreTokenizer {
  readonly name: string;
}

function preOf(fields: GgufFields): NamedPre {
  const name = fields.need(fields.string(KEYS.pre), KEYS.pre);
  const pre = PRE_TOKENIZERS.get(name);
  if (pre !== undefined) return { name, ...pre };
  const hint = `supported: ${[...PRE_TOKENIZERS.keys()].join(", ")}`;
  return fields.refuse(`llama.cpp's pre-tokenizer ${quote(name)} is not supported`, hint);
}

function byteLevel(fields: GgufFields, vocabulary: Vocabulary, pre: NamedPre): object {
  const { vocab, added } = readVocabulary(vocabulary, " ");
  return {
    version: "1.0",
    added_tokens: added,
    // As their tokenizer.json says; llama.cpp does not compose texts.
    normalizer: COMPOSING.has(pre.name) ? { type: "NFC" } : null,
    pre_tokenizer: preTokenizerPart(pre),
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      unk_token: null,
      ignore_merges: pre.ignoreMerges,
      vocab,
      merges: fields.need(fields.strings(KEYS.merges), KEYS.merges),
    },
  };
}

/** Phi 3's tokens that leave the white space behind them: llama.cpp goes by the model's name, and so is it here. */
const STAYS: ReadonlySet<string> = new Set(["<unk>", "<s>", "<|endoftext|>"]);

/** @param starts a text has a blank before it */
function sentencePiece(
  fields: GgufFields,
  vocabulary: Vocabulary,
  starts: boolean,
  merges: readonly (string | readonly string[])[],
  shown?: ReadonlySet<string>,
): object {
  const { vocab, added } = readVocabulary(vocabulary, "▁", shown);
  const { tokens, kinds } = vocabulary;
  const isPhi3 = /phi-?3/i.test(fields.string("general.name") ?? "");
  const unknown = kinds.indexOf(TOKEN_KINDS.unknown);
  return {
    version: "1.0",
    added_tokens: added.map((token) => ({ ...token, rstrip: isPhi3 && !STAYS.has(token.content) })),
    ...spaceParts(starts),
    pre_tokenizer: null,
    post_processor: null,
    model: {
      type: "BPE",
      unk_token: tokens[unknown < 0 ? (fields.number(idKey("unknown")) ?? 0) : unknown] ?? null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab,
      merges,
    },
  };
}

/** @param begins whether a text begins with `bos` */
function config(
  fields: GgufFields,
  tokens: readonly string[],
  begins: boolean,
): { readonly "tokenizer_config.json": object } {
  const named = Object.entries(SPECIAL_TOKENS).flatMap(([name, as]): [string, string][] => {
    const token = tokens[fields.number(idKey(name)) ?? -1];
    return token === undefined ? [] : [[as, token]];
  });
  const [template, toolUse] = [fields.string(KEYS.template), fields.string(KEYS.toolUse)];
  const templates = [
    { name: "default", template },
    { name: "tool_use", template: toolUse },
  ];
  return {
    "tokenizer_config.json": {
      tokenizer_class: "PreTrainedTokenizerFast",
      ...Object.fromEntries(named),
      add_bos_token: begins,
      add_eos_token: fields.boolean(KEYS.addEos) ?? false,
      clean_up_tokenization_spaces: false,
      ...(template === undefined ? {} : { chat_template: toolUse === undefined ? template : templates }),
    },
  };
}
