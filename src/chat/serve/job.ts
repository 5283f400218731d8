import type { ReplyOptions, ReplyPiece } from "../generation/reply.ts";
import type { Client } from "./client.ts";
import type { ServedModel } from "./served-model.ts";

/** Something to compute of a prompt: by default a completion. */
export interface Job<Options = ReplyOptions> {
  /** Who asks; clients take turns. */
  readonly client: Client;
  readonly model: ServedModel;
  /** The whole prompt. */
  readonly ids: readonly number[];
  /** `signal` says that nobody wants the answer any more. */
  readonly options: Options & { readonly signal: AbortSignal };
}

/** What is told of a job: its place among those that wait, from 1, while that changes; 0 when its turn has come; then its text. */
export type JobPiece = Partial<ReplyPiece> & { readonly place?: number };
