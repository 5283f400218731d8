import { RandloraError } from "../../files/errors.ts";
import type { Sequence } from "./sequence.ts";

/** Had a device no room? */
export function isMemory(thrown: unknown): boolean {
  return thrown instanceof RandloraError && thrown.code === "memory";
}

/** What is said of a sequence that not even an empty cache has room for. @param fits positions that each may have */
export function tooLarge({ needed, beams }: Pick<Sequence, "needed" | "beams">, fits: number): RandloraError {
  const what = beams === 1 ? `a text of ${needed} tokens is` : `${beams} sequences of ${needed} tokens are`;
  const hint = beams === 1 ? "ask for fewer tokens, or shorten the prompt" : "take fewer beams, or shorter texts";
  const code = beams === 1 ? "data" : "memory";
  return new RandloraError(code, `${what} more than there is room for the keys and values of: ${fits} fit`, hint);
}
