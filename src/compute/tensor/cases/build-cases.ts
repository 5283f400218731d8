// How cases of the ops with many operands are put together, of numbers that are drawn anew on every call.
import type { KvDtype, StoredDtype } from "../../device/dtype.ts";
import type { Activation } from "../../rows/gates.ts";
import { mapRows } from "../../rows/index.ts";
import type { Rows } from "../../rows/language.ts";
import type { RowAttributes, RowInputs, RowOps } from "../row-op.ts";
import { type CasesOf, ids, type OpCase, type Operand, random } from "./case.ts";

/** A row kernel's cases: each of its kinds and numbers. */
function rowCases<I extends string, O extends I, P extends string, K extends string>({
  inputs,
  shared = [],
  kinds,
  cases,
}: Rows<I, O, P, K>): OpCase<RowInputs<I, O>, RowAttributes<P, K>>[] {
  const each = (kinds ?? [undefined]).flatMap((kind) => cases.map((one) => ({ kind, ...one })));
  return each.flatMap(({ kind, sizes, numbers, shape, segments = 1, without = [], around }) => {
    const some = inputs.filter((input) => !without.some((left) => left === input));
    const shapes =
      shape === undefined
        ? ([
            [3, 41],
            [1, 1030],
          ] as const)
        : [shape];
    return shapes.map(([rows, cols]) => {
      const input = (name: I, at: number): Operand => {
        const numbers = shared.includes(name)
          ? random(1, cols, "F32", sizes[at])
          : random(rows, cols * segments, "F32", sizes[at]);
        return shifted(numbers, around?.[name] ?? 0);
      };
      return {
        name: [
          kind,
          ...Object.values(numbers ?? {}),
          `${rows}×${cols * segments}`,
          ...without.map((left) => `no ${left}`),
        ]
          .filter((part) => part !== undefined)
          .join(", "),
        inputs: Object.fromEntries(some.map((name) => [name, input(name, inputs.indexOf(name))])),
        attributes: { ...(kind !== undefined && { kind }), ...numbers },
      };
    });
  }) as OpCase<RowInputs<I, O>, RowAttributes<P, K>>[]; // these names
}

export const ROW_CASES = mapRows((rows) => rowCases(rows)) as { readonly [N in keyof RowOps]: CasesOf<RowOps[N]> }; // of each its own

/** `linear` of random operands; `extras`: with a scale, a bias and a residual. */
export function linearCase(rows: number, inner: number, out: number, dtype: StoredDtype, extras = false) {
  const scale = extras ? -0.75 : undefined;
  return {
    name: `${rows}×${inner}·${out}, ${dtype}${extras ? ", scale, bias, residual" : ""}`,
    inputs: {
      x: random(rows, inner),
      weight: random(out, inner, dtype, 1 / Math.sqrt(inner)),
      bias: extras ? random(1, out) : undefined,
      residual: extras ? random(rows, out) : undefined,
    },
    attributes: { scale },
  };
}

/** `normedLinear` of random operands. */
export function normedCase(
  rows: number,
  inner: number,
  out: number,
  dtype: StoredDtype,
  extras: {
    readonly gate?: Activation;
    readonly bias?: true;
    readonly branch?: true;
    readonly offset?: number;
    readonly rowsAtMost?: number;
  } = {},
) {
  const { gate, bias, branch, offset = 0, rowsAtMost } = extras;
  const weight = random(out, inner, dtype, 1 / Math.sqrt(inner));
  const what = [dtype, gate, bias && "bias", branch && "branch", rowsAtMost && `of ${rowsAtMost}`]
    .filter((name) => name !== undefined)
    .join(", ");
  return {
    name: `${rows}×${inner}·${out}, ${what}`,
    inputs: {
      x: random(rows, inner, "F32", 3),
      norm: random(1, inner),
      weight,
      bias: bias && random(1, out, "F32", 4),
      branch: branch && random(rows, inner, "F32", 5),
      branchNorm: branch && random(1, inner),
    },
    attributes: { gate, epsilon: 1e-5, offset, rowsAtMost },
  };
}

interface AttentionShape {
  readonly tokens: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly firstPosition?: number;
  readonly positions?: number;
  readonly window?: number;
  readonly softcap?: number;
  /** Lengths of texts one after another; the last takes what is left. */
  readonly texts?: readonly number[];
  /** The first and last key of a token; by default it is causal, within its text. */
  readonly seen?: (token: number) => readonly [first: number, last: number];
  readonly apart?: boolean;
  readonly lse?: boolean;
  readonly sinks?: true;
  /** Of keys and values; F32 by default. */
  readonly dtype?: KvDtype;
  /** Of the largest element of q; 3 by default. */
  readonly size?: number;
}

/** `attention` of random queries, keys and values. */
export function attentionCase(name: string, shape: AttentionShape) {
  const { tokens, heads, kvHeads, headSize, firstPosition = 0, window = Infinity, softcap, texts, seen, lse } = shape;
  const { dtype = "F32", size = 3, sinks, apart } = shape;
  const positions = shape.positions ?? firstPosition + tokens;
  return {
    name,
    inputs: {
      q: random(tokens, heads * headSize, "F32", size),
      keys: random(positions, kvHeads * headSize, dtype),
      values: random(positions, kvHeads * headSize, dtype),
      ...sightOf(tokens, firstPosition, texts, seen),
      sinks: sinks && random(1, heads, "F32", 3),
    },
    attributes: { headSize, firstPosition, window, softcap, apart, lse, scale: 1 / Math.sqrt(headSize) },
    // Of scores far apart, weights are 0 and 1 but for rounding, and gradients what is left where terms cancel.
    forwardOnly: dtype !== "F32" || size > 50,
  };
}

/** `convolution` of random columns; what is over a cache is not differentiated. */
export function convolutionCase(
  name: string,
  tokens: number,
  cols: number,
  taps: number,
  where: Pick<AttentionShape, "firstPosition" | "positions" | "texts" | "seen"> & {
    readonly bias?: true;
    readonly ungated?: true;
  } = {},
) {
  const { firstPosition = 0, positions = tokens, texts, seen, bias, ungated } = where;
  const { first, last } = sightOf(tokens, firstPosition, texts, seen);
  return {
    name,
    inputs: {
      x: random(positions, cols),
      gate: ungated ? undefined : random(tokens, cols),
      weight: random(1, cols * taps),
      bias: bias && random(1, cols),
      first,
      last,
    },
    attributes: { firstPosition },
    forwardOnly: positions !== tokens,
  };
}

/** `gatedDelta` of random heads, whose keys are short enough for a state to stay small; `spread`: of gates. */
export function gatedDeltaCase(
  name: string,
  tokens: number,
  keyHeads: number,
  heads: number,
  [keySize, valueSize]: readonly [keySize: number, valueSize: number],
  texts?: readonly number[],
  spread = 3,
) {
  return {
    name,
    inputs: {
      qk: random(tokens, 2 * keyHeads * keySize, "F32", 1.5 / Math.sqrt(keySize)),
      v: random(tokens, heads * valueSize),
      gates: random(tokens, 2 * heads, "F32", spread),
      decays: random(1, 2 * heads),
      first: sightOf(tokens, 0, texts, undefined).first,
    },
    attributes: { keyHeads },
  };
}

/** The first and the last key of each token; texts one after another where nothing else is said. */
function sightOf(
  tokens: number,
  firstPosition: number,
  texts: AttentionShape["texts"],
  seen: AttentionShape["seen"],
): { readonly first: Operand | undefined; readonly last: Operand | undefined } {
  const starts = [0];
  for (const length of texts ?? []) starts.push((starts.at(-1) ?? 0) + length);
  const startOf = (token: number) => starts.findLast((start) => start <= firstPosition + token) ?? 0;
  const each = (value: (token: number) => number) => ids(...Array.from({ length: tokens }, (_, token) => value(token)));
  return {
    first: seen === undefined ? texts && each(startOf) : each((token) => seen(token)[0]),
    last: seen && each((token) => seen(token)[1]),
  };
}

/** `rope` of random heads and angles; `rotated`: how many elements of a head turn. */
export function ropeCase(
  name: string,
  tokens: number,
  heads: number,
  kvHeads: number,
  headSize: number,
  rotated = headSize,
  neighbors = false,
) {
  return {
    name,
    inputs: {
      q: random(tokens, heads * headSize),
      k: kvHeads === 0 ? undefined : random(tokens, kvHeads * headSize),
      v: kvHeads === 0 ? undefined : random(tokens, kvHeads * headSize),
      cos: random(tokens, rotated / 2),
      sin: random(tokens, rotated / 2),
    },
    attributes: { headSize, neighbors },
  };
}

/** Numbers around another one than zero. */
export function shifted({ matrix, dtype }: Operand, by: number): Operand {
  return { dtype, matrix: { ...matrix, data: matrix.data.map((value) => Math.fround(value + by)) } };
}

/** Rows with equal elements: which of them comes first must not depend on the driver. */
export function ties(rows: number, cols: number): Operand {
  const { matrix, dtype } = random(rows, cols);
  return { dtype, matrix: { ...matrix, data: matrix.data.map((value) => Math.round(value * 8) / 8) } };
}

/** Random values, but for those columns of the last row, which are NaN and +Infinity by turns. */
export function withoutNumbers(rows: number, cols: number, ...columns: readonly number[]): Operand {
  const { dtype, matrix } = random(rows, cols);
  const data = Float64Array.from(matrix.data);
  columns.forEach((col, index) => (data[(rows - 1) * cols + col] = index % 2 === 0 ? NaN : Infinity));
  return { dtype, matrix: { ...matrix, data } };
}
