import { add } from "../../rows/arithmetic.ts";
import { recordAdded, recordCopy } from "../elementwise.ts";
import { type Matrix, matrixOf, at, type Of, type Op, type Roles } from "../op.ts";
import type { Recorder } from "../recorder.ts";
import { sliceCols, sliceRows, type Tensor } from "../tensor.ts";

/** What a small graph is written against, so that it can be computed on the GPU and in f64. */
export interface Maker<T> {
  apply<I extends Roles, A, O extends Roles>(op: Op<I, A, O>, inputs: Of<I, T>, attributes: A): Of<O, T>;
  cols(of: T, first: number, count: number): T;
  rows(of: T, first: number, count: number): T;
  release(...values: readonly T[]): void;
  segment<const R extends readonly T[]>(inputs: readonly T[], record: (maker: Maker<T>) => R): R;
  /** a + 2b, which is no op of the registry. */
  custom(a: T, b: T): T;
}

/** Computes in f64. */
export const IN_F64: Maker<Matrix> = {
  apply: (op, inputs, attributes) => op.reference(inputs, attributes),
  cols: (of, first, count) => matrixOf(of.shape[0], count, (row, col) => at(of, row, first + col)),
  rows: (of, first, count) => matrixOf(count, of.shape[1], (row, col) => at(of, first + row, col)),
  release: () => {},
  segment: (_, record) => record(IN_F64),
  custom: (a, b) => ({ shape: a.shape, data: a.data.map((value, at) => value + 2 * (b.data[at] ?? NaN)) }),
};

/** Records for the GPU. */
export function onGpu(recorder: Recorder): Maker<Tensor> {
  return {
    apply: (op, inputs, attributes) => recorder.apply(op, inputs, attributes),
    cols: sliceCols,
    rows: sliceRows,
    release: (...tensors) => recorder.release(...tensors),
    segment: (inputs, record) => recorder.segment(inputs, (inner) => record(onGpu(inner))),
    custom(a, b) {
      const { run } = recorder;
      const y = run.allocate("custom", a.shape);
      run.compute("elementwise", { kernel: add.kernel(), tensors: { a: a, b: b, y: y } });
      recordAdded(run, b, y);
      recorder.record({
        name: "custom",
        inputs: [a, b],
        outputs: [y],
        saves: () => [],
        backward(run, [gradient], [byA, byB]) {
          if (gradient === undefined) return;
          if (byA !== undefined) recordCopy(run, gradient, byA);
          if (byB !== undefined)
            run.compute("elementwise", { kernel: add.kernel(), tensors: { a: gradient, b: gradient, y: byB } });
        },
      });
      return y;
    },
  };
}
