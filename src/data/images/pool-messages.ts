import { type ErrorCode, RandloraError } from "../../files/errors.ts";
import type { Job } from "./job.ts";

/** What a thread is asked. */
export interface Question {
  readonly id: number;
  readonly job: Job;
}

/** That it may go on with a job which asked to be admitted. */
export interface Admission {
  readonly admitted: number;
}

/** What it answers: that it waits until so many pixels may be decoded, bytes, or what was thrown. */
export type Answer =
  | { readonly id: number; readonly pixels: number }
  | { readonly id: number; readonly bytes: Uint8Array }
  | Failure;

type Failure =
  | { readonly id: number; readonly code: ErrorCode; readonly message: string; readonly hint: string }
  | { readonly id: number; readonly bug: string };

/** A thrown value as a message: errors lose their class on the way. */
export function answerOf(id: number, thrown: unknown): Failure {
  if (thrown instanceof RandloraError) return { id, code: thrown.code, message: thrown.message, hint: thrown.hint };
  return { id, bug: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) };
}

/** The same on the other side. */
export function thrownBy(answer: Failure): Error {
  if ("bug" in answer) return new Error(`in a thread for images: ${answer.bug}`);
  return new RandloraError(answer.code, answer.message, answer.hint);
}
