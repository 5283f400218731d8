import { parsePattern } from "../../data/text/regex/parse.ts";
import type { CharacterSet, Node } from "../../data/text/regex/syntax.ts";

export const ANY_SET: CharacterSet = { kind: "set", source: "[^]", flags: "u", literal: undefined };
export const ANYTHING: Node = { kind: "repeat", body: ANY_SET, min: 0, max: Infinity, lazy: false };

/** What a whole text must match, and what it must not. */
export interface PatternRoots {
  readonly all: readonly Node[];
  readonly none: readonly Node[];
}

/**
 * A pattern without its anchors, and without what it looks ahead for at its beginning, `^(?!\.)`: that holds for a text by itself.
 * @param around what may stand at the ends, where no anchors are
 */
export function rootsOf(source: string, around: readonly Node[]): PatternRoots {
  const { root } = parsePattern(source, "u");
  const [start, ...items] = root.kind === "choice" ? [] : itemsOf(root);
  if (start === undefined || !isAnchor(start, "^")) return { all: [withoutAnchors(root, around)], none: [] };
  const looks: Extract<Node, { readonly kind: "look" }>[] = [];
  let rest = items;
  for (let [first] = rest; first?.kind === "look" && !first.behind; [first] = rest) {
    looks.push(first);
    rest = rest.slice(1);
  }
  const ahead = (negated: boolean): Node[] =>
    looks.filter((look) => look.negated === negated).map(({ body }) => fromStart(body, [ANYTHING]));
  const own = fromStart({ kind: "sequence", items: rest }, around);
  return { all: [own, ...ahead(false)], none: ahead(true) };
}

function withoutAnchors(node: Node, around: readonly Node[]): Node {
  if (node.kind === "choice") {
    return { kind: "choice", branches: node.branches.map((branch) => withoutAnchors(branch, around)) };
  }
  const [first, ...rest] = itemsOf(node);
  if (isAnchor(first, "^")) return fromStart({ kind: "sequence", items: rest }, around);
  return { kind: "sequence", items: [...around, fromStart(node, around)] };
}

/** @param behind what may stand at the end, where no anchor is */
function fromStart(node: Node, behind: readonly Node[]): Node {
  if (node.kind === "choice") {
    return { kind: "choice", branches: node.branches.map((branch) => fromStart(branch, behind)) };
  }
  const items = itemsOf(node);
  const ends = isAnchor(items.at(-1), "$");
  return { kind: "sequence", items: ends ? items.slice(0, -1) : [...items, ...behind] };
}

function itemsOf(node: Node): readonly Node[] {
  return node.kind === "sequence" ? node.items : [node];
}

function isAnchor(item: Node | undefined, symbol: string): boolean {
  return item?.kind === "assertion" && item.symbol === symbol;
}
