import type { Buffer } from "./edit.ts";

/** What the text from `from` up to the cursor may become. */
export interface Completion {
  readonly from: number;
  readonly candidates: readonly string[];
}

/** Given the text before the cursor. */
export type Completer = (before: string) => Completion;

/**
 * What Tab makes of a text: as much as all candidates begin with.
 * @returns the candidates, where several are left and nothing could be added
 */
export function completed(
  { text, cursor }: Buffer,
  complete: Completer,
): Buffer & { readonly shown: readonly string[] } {
  const { from, candidates } = complete(text.slice(0, cursor));
  const common = candidates.reduce(commonStart, candidates[0] ?? "");
  if (common.length <= cursor - from) return { text, cursor, shown: candidates.length > 1 ? candidates : [] };
  return { text: text.slice(0, from) + common + text.slice(cursor), cursor: from + common.length, shown: [] };
}

function commonStart(one: string, other: string): string {
  const [left, right] = [[...one], [...other]];
  const at = left.findIndex((character, index) => character !== right[index]);
  return at < 0 ? one : left.slice(0, at).join("");
}
