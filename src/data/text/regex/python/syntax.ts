/** Flags of a Python pattern that can change inside it. */
export interface Flags {
  readonly ignoreCase: boolean;
  readonly multiline: boolean;
  readonly dotAll: boolean;
  readonly verbose: boolean;
  readonly ascii: boolean;
}

/** A set of characters as the inside of a JavaScript class (flag v), always valid there. */
export interface CharacterSet {
  readonly kind: "set";
  readonly negated: boolean;
  readonly source: string;
  readonly flags: Flags;
}

/** A parsed Python pattern: what is needed to write the same in JavaScript. */
export type Node =
  | CharacterSet
  | { readonly kind: "sequence"; readonly items: readonly Node[] }
  | { readonly kind: "choice"; readonly branches: readonly Node[] }
  | { readonly kind: "capture"; readonly index: number; readonly body: Node }
  | { readonly kind: "atomic"; readonly body: Node }
  | { readonly kind: "look"; readonly behind: boolean; readonly negated: boolean; readonly body: Node }
  | { readonly kind: "back"; readonly index: number; readonly flags: Flags }
  | { readonly kind: "assertion"; readonly source: string }
  | {
      readonly kind: "repeat";
      readonly body: Node;
      readonly min: number;
      readonly max: number;
      readonly mode: "greedy" | "lazy" | "possessive";
    };

/** What the parser found: the tree, and the groups' names. */
export interface Pattern {
  readonly root: Node;
  readonly groups: number;
  readonly names: ReadonlyMap<string, number>;
}

/** What is wrong with a pattern, and where (a code point's index). */
export class PatternError extends Error {
  readonly at: number;

  constructor(cause: string, at: number) {
    super(cause);
    this.at = at;
  }
}
