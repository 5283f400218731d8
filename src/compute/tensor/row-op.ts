import { evaluate } from "../rows/f64.ts";
import { mapRows, type ROWS } from "../rows/index.ts";
import { type Node, readsOf, type Rows } from "../rows/language.ts";
import { defineOp, type Matrix, type Op, requireShapes, zeros } from "./op.ts";
import type { Shape, Tensor } from "./tensor.ts";

export type RowInputs<I extends string, O extends I> = { readonly [N in I]: N extends O ? "optional" : "needed" };
/** The parameters, and which of several functions. */
export type RowAttributes<P extends string, K extends string> = { readonly [N in P]: number } & ([K] extends [never]
  ? object
  : { readonly kind: K });

/** The op of row kernels: its shapes, what it records, its definition in f64. */
export function rowOp<I extends string, O extends I, P extends string, K extends string>(
  rows: Rows<I, O, P, K>,
): Op<RowInputs<I, O>, RowAttributes<P, K>, { readonly y: "needed" }> {
  const { name, inputs, shared = [], optional = [], parameters = [] } = rows;
  type A = RowAttributes<P, K>;
  type Some<T> = { readonly [N in I]?: T | undefined };
  const matrices = inputs.filter((input) => !shared.includes(input));
  const isOptional = (input: I) => optional.some((one) => one === input);
  const roles = Object.fromEntries(inputs.map((input) => [input, isOptional(input) ? "optional" : "needed"]));
  const kindOf = ({ kind }: A & { readonly kind?: K }): K | undefined => kind;
  const numbersOf = (attributes: A) =>
    Object.fromEntries(parameters.map((parameter) => [parameter, attributes[parameter]]));
  /** Those of these that are there. */
  const some = <T>(of: readonly I[], given: Some<T>): T[] =>
    of.flatMap((input) => (given[input] === undefined ? [] : [given[input]]));
  const valueOf = (given: Some<unknown>, attributes: A) => {
    const there = optional.filter((input) => given[input] !== undefined);
    return rows.kernel(kindOf(attributes), undefined, there);
  };
  const definition = (
    node: Node | undefined,
    attributes: A,
    given: Some<Matrix>,
    more: Readonly<Record<string, Matrix>>,
  ) => {
    const all: Readonly<Record<string, Matrix | undefined>> = { ...given, ...more };
    const data = Object.entries(all).flatMap(([operand, of]) =>
      of === undefined ? [] : [[operand, of.data] as const],
    );
    const [{ shape } = zeros(0, 0)] = some(matrices, given);
    const [row] = some(shared, given);
    const columns = row?.shape[1] ?? shape[1];
    const values = evaluate(node, shape[0] * shape[1], Object.fromEntries(data), numbersOf(attributes), columns);
    return { shape, columns, data: values };
  };
  const reference = (given: Some<Matrix>, attributes: A): { readonly y: Matrix } => ({
    y: definition(valueOf(given, attributes).targets["y"], attributes, given, {}),
  });
  return defineOp({ inputs: roles as RowInputs<I, O>, outputs: { y: "needed" } })<A>({
    // these keys
    name,
    shape(given) {
      const shapes: Some<Shape> = given;
      const [shape = [0, 0] as const, ...others] = some(matrices, shapes);
      const [row = [1, shape[1]] as const, ...rows] = some(shared, shapes);
      const isSame = others.every((other) => other[0] === shape[0] && other[1] === shape[1]);
      const isRow = [row, ...rows].every((other) => other[0] === 1 && other[1] === row[1]);
      const segments = shape[1] / row[1];
      const fits = Number.isInteger(segments) && (segments === 1 || row[1] % 4 === 0);
      const one = "a row must be one segment, or several of a multiple of 4";
      const rule = shared.length > 0 ? `the shapes must be equal, and ${one}` : "the shapes must be equal";
      requireShapes(name, shapes, isSame && isRow && fits, rule);
      return { y: { shape } };
    },
    forward(run, given, attributes, { y }) {
      const tensors: Some<Tensor> = given;
      run.compute("elementwise", {
        kernel: valueOf(tensors, attributes),
        tensors: { ...tensors, y },
        numbers: numbersOf(attributes),
      });
    },
    reference,
    derivative: {
      /** What the gradients of these inputs are computed from, beside dy. */
      saves(wanted, attributes) {
        const nodes = inputs.flatMap((input) =>
          wanted.has(input) ? (rows.gradientOf(kindOf(attributes), input) ?? []) : [],
        );
        return readsOf(nodes).filter((operand): operand is I | "y" => operand !== "dy");
      },
      backward(run, { inputs: given, outputs, gradients: { y: dy }, into }, attributes) {
        if (dy === undefined) return;
        const targets: Some<Tensor> = into;
        const tensors: Some<Tensor> = given;
        const all: Readonly<Record<string, Tensor | undefined>> = { ...tensors, ...outputs, dy };
        const kind = kindOf(attributes);
        const stored: (readonly [input: I, to: Tensor])[] = [];
        const sums: { readonly a: Tensor; readonly b?: Tensor | undefined; readonly y: Tensor }[] = [];
        const scratch: Tensor[] = [];
        for (const input of inputs) {
          const y = targets[input];
          if (y === undefined) continue;
          const [a, b] = (rows.factors.get(input) ?? []).map((operand) => all[operand]);
          if (a !== undefined) sums.push({ a, b, y });
          else if (shared.includes(input)) {
            const terms = run.allocate(`${name}.terms`, dy.shape);
            scratch.push(terms);
            stored.push([input, terms]);
            sums.push({ a: terms, y });
          } else stored.push([input, y]);
        }
        if (stored.length > 0) {
          const kernel = rows.kernel(
            kind,
            stored.map(([input]) => input),
          );
          const results = Object.fromEntries(stored.map(([input, to]) => [`d${input}`, to]));
          run.compute("elementwise", { kernel, tensors: { ...all, ...results }, numbers: numbersOf(attributes) });
        }
        for (const { a, b, y } of sums) {
          run.compute("columnSums", { a, times: b, segments: a.shape[1] / y.shape[1], y });
        }
        run.release(...scratch);
      },
      gradient(given, attributes, { y: dy }) {
        const from: Some<Matrix> = given;
        const more = { ...reference(from, attributes), dy };
        const all = inputs.flatMap((input): [I, Matrix][] => {
          if (from[input] === undefined) return [];
          const node = rows.gradientOf(kindOf(attributes), input);
          const { shape, columns, data } = definition(node, attributes, from, more);
          if (!shared.includes(input)) return [[input, { shape, data }]];
          const sums = new Float64Array(columns);
          data.forEach((value, at) => (sums[at % columns] = (sums[at % columns] ?? NaN) + value));
          return [[input, { shape: [1, columns], data: sums }]];
        });
        return Object.fromEntries(all) as Some<Matrix>; // the inputs
      },
    },
  });
}

/** The ops of all rows that are ops, by name. */
export type RowOps = {
  readonly [N in keyof typeof ROWS]: (typeof ROWS)[N] extends Rows<infer I, infer O, infer P, infer K>
    ? ReturnType<typeof rowOp<I, O, P, K>>
    : never;
};

export const ROW_OPS = mapRows((rows) => rowOp(rows)) as RowOps; // of each its own
