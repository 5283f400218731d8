import { existsSync } from "node:fs";
import { join } from "node:path";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";
import type { GgufMetadata, GgufValue } from "../../../files/gguf/format.ts";
import { readWhole } from "../../../files/read-whole.ts";
import { loadChatTemplate, type TemplateText } from "../chat-template.ts";
import { openTokenizer } from "../load-tokenizer.ts";
import type { Tokenizer } from "../tokenizer.ts";
import { explain, PartError, readPart } from "../tokenizer/part.ts";
import { GEMMA4_SHOWN, idKey, KEYS, MODELS, type SPECIAL_TOKENS, type Vocabulary } from "./kinds.ts";
import { PRE_TOKENIZERS, PROBE, PROBED } from "./pre-tokenizers.ts";
import { BpeFile, byteLevelVocabulary, mergesOf, readPieces, sentencePieceVocabulary } from "./vocabulary.ts";
import { definitionOf, hasCharsmap, isByteLevel, startsWithSpace } from "./definition.ts";

/** tokenizer.model of the largest vocabularies has 5 MiB. */
const MAX_SENTENCEPIECE_BYTES = 64 * 2 ** 20;

/** What is asked of a tokenizer beside its own files. */
export interface TokenizerWish {
  /** Rows of the model's embedding. */
  readonly size: number;
  /** `--pre`: llama.cpp's name of the pre-tokenizer, where nothing says it. */
  readonly pre?: string | undefined;
  /** Merges stand beside SentencePiece's scores: so llama.cpp has Gemma 4's. */
  readonly merged?: boolean | undefined;
  /** Of config.json, for tokenizers that name none. */
  readonly ids: Readonly<Partial<Record<"bos" | "eos" | "pad", number | undefined>>>;
}

/**
 * A model folder's tokenizer and chat template as GGUF's metadata.
 * @throws RandloraError `file` without tokenizer.json; `model` for a kind that GGUF or llama.cpp does not have
 */
export async function tokenizerMetadata(folder: string, wish: TokenizerWish): Promise<GgufMetadata> {
  const { tokenizer, file, path } = await openTokenizer(folder);
  try {
    const parts = readPart(BpeFile, file, "tokenizer.json");
    const pairs = isByteLevel(parts)
      ? byteLevel(parts, tokenizer, wish, path)
      : await sentencePiece(parts, folder, wish, path);
    const template = await loadChatTemplate(folder);
    return new Map([
      ...pairs,
      ...specialTokens(tokenizer, wish),
      ...(template === undefined ? [] : [[KEYS.template, string(template.source)] as const]),
      ...(template?.toolUse === undefined ? [] : toolTemplate(template.toolUse)),
    ]);
  } catch (error) {
    if (error instanceof PartError && /^tokenizer.json.model/.test(error.message)) throw notBpe(path);
    throw explain(error, path);
  }
}

/** As gguf-py writes named templates (gguf_writer.py, add_chat_template). */
function toolTemplate({ source }: TemplateText): [string, GgufValue][] {
  return [
    [KEYS.templateNames, { kind: "array", of: "string", value: ["tool_use"] }],
    [KEYS.toolUse, string(source)],
  ];
}

function byteLevel(file: BpeFile, tokenizer: Tokenizer, wish: TokenizerWish, path: string): [string, GgufValue][] {
  const pre = wish.pre ?? preOf(file, tokenizer);
  if (pre === undefined) {
    const names = [...PRE_TOKENIZERS.keys()].slice(0, 7).join(", ");
    const cause = `${oneLine(path)}: llama.cpp's name of this pre-tokenizer is not known`;
    throw new RandloraError("model", cause, `--pre NAME gives it: ${names}, or another of llama.cpp's`);
  }
  return [
    [KEYS.model, string(MODELS.byteLevel)],
    [KEYS.pre, string(pre)],
    ...listed(byteLevelVocabulary(file, wish.size)),
    mergesIn(file),
  ];
}

function mergesIn({ model }: BpeFile): [string, GgufValue] {
  return [KEYS.merges, { kind: "array", of: "string", value: mergesOf(model) }];
}

/** By the ids of llama.cpp's probe, else by what tokenizer.json says of the pre-tokenizer. */
function preOf(file: BpeFile, tokenizer: Tokenizer): string | undefined {
  const ids = `[${tokenizer.encode(PROBE).join(", ")}]`;
  return PROBED.get(new Bun.CryptoHasher("sha256").update(ids).digest("hex")) ?? definitionOf(file);
}

async function sentencePiece(
  file: BpeFile,
  folder: string,
  { size, pre, merged = false }: TokenizerWish,
  path: string,
): Promise<[string, GgufValue][]> {
  if (!file.model.byte_fallback || hasCharsmap(file)) throw notBpe(path);
  if (pre !== undefined) {
    throw new RandloraError("usage", `${oneLine(path)}: --pre is of byte-level BPE, this is SentencePiece's`);
  }
  const starts = startsWithSpace(file);
  if (merged && starts) {
    const cause = `${oneLine(path)}: a space before each text, which llama.cpp's tokenizer gemma4 does not put there`;
    throw new RandloraError("model", cause, "take Gemma 4's own tokenizer.json, or use the model's folder");
  }
  const model = join(folder, "tokenizer.model");
  const pieces = existsSync(model) ? readPieces(await readWhole(model, MAX_SENTENCEPIECE_BYTES), model) : undefined;
  const space: [string, GgufValue] = [KEYS.spacePrefix, { kind: "bool", value: false }];
  return [
    [KEYS.model, string(merged ? MODELS.merged : MODELS.sentencePiece)],
    merged ? mergesIn(file) : [KEYS.pre, string("default")],
    ...listed(sentencePieceVocabulary(file, pieces, size, merged ? GEMMA4_SHOWN : undefined)),
    // llama.cpp puts a blank before a text where nothing is said.
    ...(starts ? [] : [space]),
  ];
}

function listed({ tokens, kinds, scores }: Vocabulary): [string, GgufValue][] {
  return [
    [KEYS.tokens, { kind: "array", of: "string", value: tokens }],
    ...(scores === undefined
      ? []
      : [[KEYS.scores, { kind: "array", of: "f32", value: scores }] satisfies [string, GgufValue]]),
    [KEYS.kinds, { kind: "array", of: "i32", value: kinds }],
  ];
}

/** Ids of special tokens, and which of them llama.cpp puts around a text: what this tokenizer puts there. */
function specialTokens(tokenizer: Tokenizer, { ids, size }: TokenizerWish): [string, GgufValue][] {
  const around = tokenizer.encode("");
  const { beginning } = tokenizer;
  const { pad = -1 } = ids;
  const ending = around.length > (beginning === undefined ? 0 : 1) ? around.at(-1) : undefined;
  const found: Readonly<Record<keyof typeof SPECIAL_TOKENS, number | undefined>> = {
    bos: beginning ?? tokenizer.bos?.id ?? ids.bos,
    eos: ending ?? tokenizer.eos?.id ?? ids.eos,
    unknown: tokenizer.unk?.id,
    // Of config.json −1, or a row that the embedding does not have, means none.
    padding: tokenizer.pad?.id ?? (Number.isInteger(pad) && pad >= 0 && pad < size ? pad : undefined),
  };
  return [
    ...Object.entries(found).flatMap(([name, value]): [string, GgufValue][] =>
      value === undefined ? [] : [[idKey(name), { kind: "u32", value }]],
    ),
    [KEYS.addBos, { kind: "bool", value: beginning !== undefined }],
    [KEYS.addEos, { kind: "bool", value: ending !== undefined }],
  ];
}

function string(value: string): GgufValue {
  return { kind: "string", value };
}

function notBpe(path: string): RandloraError {
  const hint = "byte-level and SentencePiece BPE can, as in Llama, Mistral, Qwen, Phi and Gemma";
  return new RandloraError("model", `${oneLine(path)}: a tokenizer of this kind cannot be written as GGUF`, hint);
}
