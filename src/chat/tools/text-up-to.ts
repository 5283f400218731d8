import { choice, type Expression, LAST_BYTE, rule, sequence, text } from "../grammar/grammar.ts";

/**
 * Any text, but what stands behind the first of a mark follows `behind`.
 * @param name of its rules, which are added
 * @param mayEnd it may end without the mark
 */
export function textUpTo(
  mark: string,
  name: string,
  behind: Expression,
  rules: Map<string, Expression>,
  mayEnd = true,
): Expression {
  const bytes = new TextEncoder().encode(mark);
  const end = mayEnd ? [text("")] : [];
  for (const begun of bytes.keys()) rules.set(`${name} ${begun}`, choice(...end, ...waysBehind(bytes, begun, name)));
  rules.set(`${name} ${bytes.length}`, behind);
  return rule(`${name} 0`);
}

/** What may follow a text whose end is the first `begun` bytes of a mark (Knuth, Morris and Pratt's automaton). */
function waysBehind(mark: Uint8Array, begun: number, name: string): Expression[] {
  const inMark = [...new Set(mark)].toSorted((left, right) => left - right);
  const ways = inMark.map((byte) => {
    const seen = [...mark.subarray(0, begun), byte];
    let length = seen.length;
    while (!seen.slice(seen.length - length).every((one, at) => one === mark[at])) length--;
    return sequence({ kind: "byte", ranges: [[byte, byte]] }, rule(`${name} ${length}`));
  });
  const edges = [-1, ...inMark, LAST_BYTE + 1];
  const others = edges.slice(1).map((edge, at): [number, number] => [(edges[at] ?? 0) + 1, edge - 1]);
  const ranges = others.filter(([first, last]) => first <= last);
  return [...ways, sequence({ kind: "byte", ranges }, rule(`${name} 0`))];
}
