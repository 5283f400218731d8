/** A parsed regular expression of JavaScript's (flag u or v). */
export type Node =
  | CharacterSet
  | { readonly kind: "sequence"; readonly items: readonly Node[] }
  | { readonly kind: "choice"; readonly branches: readonly Node[] }
  | { readonly kind: "capture"; readonly index: number; readonly body: Node }
  | { readonly kind: "look"; readonly behind: boolean; readonly negated: boolean; readonly body: Node }
  | { readonly kind: "back"; readonly index: number; readonly ignoreCase: boolean }
  | { readonly kind: "assertion"; readonly symbol: Assertion; readonly multiline: boolean }
  | Repeat;

/** What matches one code point: as it is written, and the flags it stands under; native expressions decide what it holds. */
export interface CharacterSet {
  readonly kind: "set";
  readonly source: string;
  readonly flags: string;
  /** The one code point that it is, where it is plain. */
  readonly literal: number | undefined;
}

export interface Repeat {
  readonly kind: "repeat";
  readonly body: Node;
  readonly min: number;
  readonly max: number;
  readonly lazy: boolean;
}

export type Assertion = "^" | "$";

/** Why a pattern is refused, for itself or with a text: it is too large, nested too deeply, takes too many steps. */
export class RegexLimitError extends Error {}

/** The fewest UTF-16 units that a match has. */
export function minLength(node: Node): number {
  return lengthOf(node, "min");
}

/** The fewest or the most characters of a match, at least and at most as many. */
export function lengthOf(node: Node, which: "min" | "max"): number {
  switch (node.kind) {
    case "set":
      return 1;
    case "sequence":
      return node.items.reduce((sum, item) => sum + lengthOf(item, which), 0);
    case "choice":
      return Math[which](...node.branches.map((branch) => lengthOf(branch, which)));
    case "capture":
      return lengthOf(node.body, which);
    case "repeat":
      return node[which] === 0 ? 0 : times(node[which], lengthOf(node.body, which));
    case "look":
    case "back":
    case "assertion":
      return 0;
  }
}

/** A pattern may say any number, also infinity. */
function times(count: number, length: number): number {
  return length === 0 ? 0 : count * length;
}
