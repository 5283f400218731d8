import type { ScalarKind } from "./types.ts";

/** JavaScript of one component's operation. */
export type Template = (...operands: string[]) => string;

const f32 = (js: string): string => `F(${js})`;
const u32 = (js: string): string => `(${js})>>>0`;
const i32 = (js: string): string => `(${js})|0`;
/** Constants are computed in f64, as WGSL computes abstract numbers. */
const exact = (js: string): string => `(${js})`;

/** Rounds or wraps what is computed of numbers of this kind. */
function wrapped(kind: ScalarKind): (js: string) => string {
  if (kind === "f32") return f32;
  return kind === "u32" ? u32 : kind === "i32" ? i32 : exact;
}

const COMPARISONS: Readonly<Record<string, string>> = {
  "==": "===",
  "!=": "!==",
  "<": "<",
  ">": ">",
  "<=": "<=",
  ">=": ">=",
};

export function isComparison(operator: string): boolean {
  return operator in COMPARISONS;
}

/** What an operator does with two numbers (or truth values) of this kind. */
export function binaryTemplate(operator: string, kind: ScalarKind): Template {
  const comparison = COMPARISONS[operator];
  if (comparison !== undefined) return (a, b) => `(${a}${comparison}${b})`;
  if (operator === "&&" || operator === "||") return (a, b) => `(${a}${operator}${b})`;
  if (kind === "bool") return (a, b) => `!!(${a}${operator}${b})`;
  const wrap = wrapped(kind);
  if (kind === "u32" || kind === "i32") {
    const shift = kind === "u32" ? ">>>" : ">>";
    if (operator === "*") return (a, b) => wrap(`Math.imul(${a},${b})`);
    if (operator === "/") return (a, b) => wrap(`R.divide(${a},${b})`);
    if (operator === "%") return (a, b) => wrap(`R.remainder(${a},${b})`);
    if (operator === ">>") return (a, b) => wrap(`${a}${shift}(${b}&31)`);
    if (operator === "<<") return (a, b) => wrap(`${a}<<(${b}&31)`);
  }
  return (a, b) => wrap(`${a}${operator}${b}`);
}

export function unaryTemplate(operator: string, kind: ScalarKind): Template {
  if (operator === "!") return (a) => `(!${a})`;
  return (a) => wrapped(kind)(`${operator}${a}`);
}

/** Functions of components, all of one kind, which they also give. */
const COMPONENTWISE: Readonly<Record<string, Template>> = {
  abs: (a) => `Math.abs(${a})`,
  ceil: (a) => `Math.ceil(${a})`,
  clamp: (a, low, high) => `R.min(R.max(${a},${low}),${high})`,
  exp: (a) => f32(`Math.exp(${a})`),
  floor: (a) => `Math.floor(${a})`,
  fma: (a, b, c) => f32(`${a}*${b}+${c}`),
  log: (a) => f32(`Math.log(${a})`),
  max: (a, b) => `R.max(${a},${b})`,
  min: (a, b) => `R.min(${a},${b})`,
  round: (a) => `R.round(${a})`,
  sign: (a) => `Math.sign(${a})`,
  sqrt: (a) => f32(`Math.sqrt(${a})`),
  tanh: (a) => f32(`Math.tanh(${a})`),
};

export function componentwise(name: string): Template | undefined {
  return COMPONENTWISE[name];
}

/** The same number as another kind. */
export function conversion(from: ScalarKind, to: ScalarKind): Template {
  if (from === to) return (a) => a;
  if (to === "bool") return (a) => `(${a}!==0)`;
  if (from === "bool") return (a) => `(${a}?1:0)`;
  if (to === "f32") return f32;
  // Numbers that an integer cannot hold become the nearest that it can.
  if (from === "f32" || from === "float") return (a) => `R.to_${to}(${a})`;
  return (a) => wrapped(to)(a);
}

/** The same bits as another kind. */
export function bitcast(from: ScalarKind, to: ScalarKind): Template {
  if (from === "f32") return (a) => wrapped(to)(`R.bits(${a})`);
  return to === "f32" ? (a) => `R.float(${a})` : (a) => wrapped(to)(a);
}
