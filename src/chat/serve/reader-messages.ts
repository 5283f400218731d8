import type { TokenTree } from "../grammar/token-tree.ts";
import type { TemplateText } from "../../data/text/chat-template.ts";
import { RandloraError } from "../../files/errors.ts";
import { ApiError } from "./api-error.ts";
import type { RawModels } from "./prompt.ts";
import type { EmbeddingKind, EmbeddingTexts, ReadingOptions, RequestKind, Understood } from "./understand.ts";

/** The process's program: an entry point of the compiled one, too (cmd/main.ts). */
export const READER = "src/chat/serve/reader-process.ts";

/** What a process that reads requests is told first; it loads the tokenizer, and answers `{ value: undefined }`. */
export interface Start extends ReadingOptions {
  readonly folder: string;
  /** Of the chat template: a file that was piped in can be read but once. */
  readonly template:
    | (TemplateText & {
        readonly specialTokens: Readonly<Record<string, string>>;
        readonly toolUse: TemplateText | undefined;
      })
    | undefined;
  readonly vocabularySize: number;
  /** Make the tree of the vocabulary before a grammar asks for it, while there is nothing else to do. */
  readonly ahead: boolean;
}

/** What is answered where it is read: `/tokenize`, `/detokenize`, `/apply-template`. */
export type TokenKind = "tokenize" | "detokenize" | "template";

/** One question after another. */
export type Question =
  | { readonly kind: RequestKind; readonly body: Uint8Array; readonly raw: RawModels }
  | { readonly kind: EmbeddingKind | TokenKind; readonly body: Uint8Array }
  | { readonly kind: "vocabulary" };

/** What there is to say to a question. */
export type Told = Understood | EmbeddingTexts | TokenTree | { readonly json: string } | undefined;

export type Answer =
  | { readonly value: Told }
  | { readonly refusal: ApiError["parts"] }
  /** A failure that is not the client's. */
  | { readonly failure: string };

/** What is told without a question, once: the tree that was to be made ahead is there, or cannot be made. */
export const MADE_AHEAD = "made ahead";

/** What went wrong as an answer. */
export function answerOf(error: unknown): Answer {
  if (error instanceof ApiError) return { refusal: error.parts };
  if (error instanceof RandloraError && (error.code === "data" || error.code === "usage")) {
    return { refusal: [400, error.message, {}] };
  }
  return { failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

/** What the other process was told. @throws what was thrown there */
export function valueOf(answer: Answer): Told {
  if ("value" in answer) return answer.value;
  if ("refusal" in answer) throw new ApiError(...answer.refusal);
  throw new Error(answer.failure);
}
