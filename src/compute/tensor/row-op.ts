import { evaluate } from "../rows/f64.ts";
import { mapRows, type ROWS } from "../rows/index.ts";
import type { Node, Rows } from "../rows/language.ts";
import { defineOp, type Matrix, type Op, requireShapes, zeros } from "./op.ts";
import type { Shape, Tensor } from "./tensor.ts";

export type RowInputs<I extends string> = { readonly [N in I]: "needed" };
/** The parameter, and which of several functions. */
export type RowAttributes<P extends string, K extends string> = { readonly [N in P]: number } & ([K] extends [never]
  ? object
  : { readonly kind: K });

/** The op of row kernels: its shapes, what it records, its definition in f64. */
export function rowOp<I extends string, P extends string, K extends string>(
  rows: Rows<I, P, K>,
): Op<RowInputs<I>, RowAttributes<P, K>, { readonly y: "needed" }> {
  const { name, inputs, parameter } = rows;
  type A = RowAttributes<P, K>;
  type Some<T> = { readonly [N in I]?: T | undefined };
  type All<T> = { readonly [N in I]: T };
  const roles = Object.fromEntries(inputs.map((input) => [input, "needed"])) as RowInputs<I>; // these keys
  const kindOf = ({ kind }: A & { readonly kind?: K }): K | undefined => kind;
  const numberOf = (attributes: A): number => (parameter === undefined ? 1 : attributes[parameter]);
  const definition = (node: Node | undefined, attributes: A, operands: Readonly<Record<string, Matrix>>): Matrix => {
    const data = Object.fromEntries(Object.entries(operands).map(([operand, matrix]) => [operand, matrix.data]));
    const [{ shape } = zeros(0, 0)] = Object.values(operands);
    return { shape, data: evaluate(node, shape[0] * shape[1], data, { [parameter ?? ""]: numberOf(attributes) }) };
  };
  const reference = (matrices: All<Matrix>, attributes: A): { readonly y: Matrix } => ({
    y: definition(rows.kernel(kindOf(attributes)).targets["y"], attributes, matrices),
  });
  return defineOp({ inputs: roles, outputs: { y: "needed" } })<A>({
    name,
    shape(shapes: All<Shape>) {
      const [shape = [0, 0] as const, other = shape] = inputs.map((input) => shapes[input]);
      requireShapes(name, shapes, shape[0] === other[0] && shape[1] === other[1], "the shapes must be equal");
      return { y: { shape } };
    },
    forward(run, tensors: Some<Tensor>, attributes, { y }) {
      const kernel = rows.kernel(kindOf(attributes));
      run.compute("elementwise", { kernel, tensors: { ...tensors, y }, number: numberOf(attributes) });
    },
    reference,
    derivative: {
      /** What the gradients of these inputs are computed from, beside dy. */
      saves(wanted, attributes) {
        const some = inputs.filter((input) => wanted.has(input));
        const { reads } = rows.kernel(kindOf(attributes), some);
        return reads.filter((operand): operand is I | "y" => operand !== "dy");
      },
      backward(run, { inputs: tensors, outputs, gradients: { y: gradient }, into }, attributes) {
        const targets: Some<Tensor> = into;
        const wanted = inputs.filter((input) => targets[input] !== undefined);
        if (gradient === undefined || wanted.length === 0) return;
        const results = Object.fromEntries(wanted.map((input) => [`d${input}`, targets[input]]));
        const given: Some<Tensor> = tensors;
        run.compute("elementwise", {
          kernel: rows.kernel(kindOf(attributes), wanted),
          tensors: { ...given, ...outputs, dy: gradient, ...results },
          number: numberOf(attributes),
        });
      },
      gradient(matrices: All<Matrix>, attributes, { y: dy }) {
        const operands = { ...matrices, ...reference(matrices, attributes), dy };
        const { targets } = rows.kernel(kindOf(attributes), inputs);
        const all = inputs.map((input) => [input, definition(targets[`d${input}`], attributes, operands)]);
        return Object.fromEntries(all) as Some<Matrix>; // the inputs
      },
    },
  });
}

/** The ops of all rows that are ops, by name. */
export type RowOps = {
  readonly [N in keyof typeof ROWS]: (typeof ROWS)[N] extends Rows<infer I, infer P, infer K>
    ? ReturnType<typeof rowOp<I, P, K>>
    : never;
};

export const ROW_OPS = mapRows((rows) => rowOp(rows)) as RowOps; // of each its own
