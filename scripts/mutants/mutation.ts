import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A mistake that an engineer could make, put into a source file on purpose. */
export interface Mutation {
  /** The file's path from the repository's root. */
  readonly file: string;
  /** A text that occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** In one line, what is wrong with the result. */
  readonly breaks: string;
  /** Why no test notices it and none should. */
  readonly survives?: string | undefined;
}

/** Mutations by file: what is found, what replaces it, what breaks, and perhaps why nothing notices it. */
export type MutationsByFile = Readonly<
  Record<string, readonly (readonly [find: string, replace: string, breaks: string, survives?: string])[]>
>;

/** @returns the file's text with the mistake in it; throws where the text to replace is not there exactly once */
export function mutate(root: string, { file, find, replace }: Mutation): string {
  const parts = readFileSync(join(root, file), "utf8").split(find);
  if (parts.length !== 2) throw new Error(`${file} has this ${parts.length - 1} times, not once: ${find}`);
  return parts.join(replace);
}
