import type { NumberKind } from "./syntax.ts";

export interface Token {
  readonly text: string;
  readonly line: number;
  /** Where it begins: `>` and `=` that are neighbors may be one operator. */
  readonly at: number;
  readonly number: { readonly value: number; readonly type: NumberKind } | undefined;
}

const TOKEN =
  /\s+|\/\/[^\n]*|0x[\da-fA-F]*\.?[\da-fA-F]*(?:p[-+]?\d+)?[iuf]?|(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?[iuf]?|[A-Za-z_]\w*|&&|\|\||->|\+\+|--|==|!=|<=|<<|[-+*/%&|^]=|[^\s]/gy;

/** The tokens of a shader. `>`, `>=` and `>>` come as single characters, since `>` also ends a template. */
export function tokenize(code: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  for (const { 0: text, index } of code.matchAll(TOKEN)) {
    if (/^(\s|\/\/)/.test(text)) {
      line += text.split("\n").length - 1;
      continue;
    }
    tokens.push({ text, line, at: index, number: /^\.?\d/.test(text) ? numberOf(text) : undefined });
  }
  return tokens;
}

function numberOf(text: string): Token["number"] {
  const isHex = text.startsWith("0x");
  const suffix = /[iu]$/.test(text) || (text.endsWith("f") && (!isHex || text.includes("p"))) ? text.slice(-1) : "";
  const digits = suffix === "" ? text : text.slice(0, -1);
  const isFloat = isHex ? /[.p]/.test(digits) : /[.e]/.test(digits);
  const value = isHex && isFloat ? hexFloat(digits) : Number(digits);
  const type = suffix === "u" ? "u32" : suffix === "i" ? "i32" : suffix === "f" ? "f32" : isFloat ? "float" : "int";
  return { value, type };
}

function hexFloat(text: string): number {
  const [, whole = "", fraction = "", power = "0"] = /^0x([\da-f]*)\.?([\da-f]*)(?:p([-+]?\d+))?$/i.exec(text) ?? [];
  return Number(`0x${whole}${fraction}`) * 2 ** (Number(power) - 4 * fraction.length);
}
