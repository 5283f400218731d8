import type { Code } from "./code.ts";

/** Operations of invocations, by component: fused multiply-adds, others of floats, and of integers and truth values. */
export interface Tally {
  fma: number;
  float: number;
  integer: number;
}

/** Operations that take a card several instructions, roughly; of others one. Divisions by constants are shifts or a product. */
const COSTS: Readonly<Record<string, number>> = { exp: 4, log: 4, sqrt: 4, tanh: 8, over: 8, pack4xI8: 4, sign: 2 };
const INTEGER_DIVISION = { constant: 2, other: 20 };

/** What holds a variable, an argument, or what lies in memory: constants are `$UPPER` or numbers. */
const VARIES = /\$\d|\$[a-z]|R\.load|yield/;
/** The same bits, or an operand's sign. */
const FREE = /^(?:bitcast_\w+|minus_f32|convert_[iu]32_[iu]32)$/;
const MARK = /\/\*([fai])(\d+)\*\//g;

/** A comment that says what an operation costs: the kind and instructions. Nothing for what a compiler computes, or leaves out. */
export function markOf(name: string, size: number, operands: readonly Code[]): string {
  const varying = operands.map(({ js }) => VARIES.test(js));
  if (!varying.includes(true) || FREE.test(name)) return "";
  const [, operation = name, of = ""] = /^(.+)_(\w+)$/.exec(name) ?? [];
  // A dot product of bytes is one instruction, too, of those that a card is sold by.
  if (operation === "fma" || operation === "dot4I8Packed") return `/*f${size}*/`;
  if (of === "f32" || of === "float") return `/*a${size * (COSTS[operation] ?? 1)}*/`;
  const isDivision = operation === "over" || operation === "modulo";
  const division = varying[1] === true ? INTEGER_DIVISION.other : INTEGER_DIVISION.constant;
  return `/*i${size * (isDivision ? division : (COSTS[operation] ?? 1))}*/`;
}

export function unmarked(js: string): string {
  return js.replaceAll(MARK, "");
}

/** JavaScript that adds to `R.tally` what marks in `js` come to, and `js` without them. */
export function tallied(js: string): [cost: string, unmarked: string] {
  const sums = { f: 0, a: 0, i: 0 };
  for (const [, kind, cost] of js.matchAll(MARK)) sums[kind as keyof typeof sums] += Number(cost);
  const adds = { fma: sums.f, float: sums.a, integer: sums.i };
  const cost = Object.entries(adds).map(([name, sum]) => (sum === 0 ? "" : `R.tally.${name}+=${sum};`));
  return [cost.join(""), unmarked(js)];
}
