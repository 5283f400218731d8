import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../device/device.ts";
import { openTestDevice } from "../device/testing/open.ts";
import { read } from "../device/transfer.ts";
import type { Matrix } from "./op.ts";
import { OPS } from "./ops/index.ts";
import { Run } from "./run.ts";
import { Tape } from "./tape.ts";
import { sliceRows } from "./tensor.ts";
import { random } from "./cases/case.ts";
import { IN_F64, type Maker, onGpu } from "./testing/graph.ts";
import { place, relativeError, take } from "./cases/placed.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

/** What a graph computes from its parameters, of which some may be constants. */
type Graph = <T>(maker: Maker<T>, parameter: (index: number) => T) => T;

/** A matrix of a graph, and whether it is watched. */
interface Parameter {
  readonly matrix: Matrix;
  readonly watched: boolean;
}

const NORM = { epsilon: 1e-5, offset: 0 };
const ROWS = 5;
const parameters = (...cols: readonly number[]): Parameter[] =>
  cols.map((count) => ({ matrix: random(ROWS, count).matrix, watched: true }));

const pick =
  <T>(values: readonly T[]) =>
  (index: number): T => {
    const value = values[index];
    if (value === undefined) throw new RangeError(`parameter ${index} of ${values.length}`);
    return value;
  };
const evaluate = (graph: Graph, matrices: readonly Matrix[]) => graph(IN_F64, pick(matrices));

function dot(a: Matrix, b: Matrix): number {
  return a.data.reduce((sum, value, at) => sum + value * (b.data[at] ?? NaN), 0);
}

/** Central differences of Σ output · weights by every element of every parameter; zeros for constants. */
function differences(graph: Graph, all: readonly Parameter[], weights: Matrix): Float64Array[] {
  const matrices = all.map(({ matrix }) => matrix);
  return all.map(({ matrix: { shape, data }, watched }, index) =>
    data.map((_, at) => {
      if (!watched) return 0;
      const shaken = (by: number) => {
        const moved = data.slice();
        moved[at] = (moved[at] ?? NaN) + by;
        return dot(evaluate(graph, matrices.with(index, { shape, data: moved })), weights);
      };
      return (shaken(1e-4) - shaken(-1e-4)) / 2e-4;
    }),
  );
}

const float32 = (matrix: Matrix) => ({ matrix, dtype: "F32" }) as const;
const zerosLike = ({ shape }: Matrix) => float32({ shape, data: new Float64Array(shape[0] * shape[1]) });

/** The tape's gradients after some passes, added to zeros. Nothing may stay in GPU memory. */
async function gradients(
  graph: Graph,
  all: readonly Parameter[],
  weights: Matrix,
  passes = 1,
): Promise<Float64Array[]> {
  const before = gpu.memory.liveBytes;
  const placed = all.map(({ matrix }) => place(gpu, float32(matrix)));
  const targets = all.map(({ matrix }) => place(gpu, zerosLike(matrix)));
  const gradient = place(gpu, float32(weights));
  {
    using run = new Run(gpu);
    const tape = new Tape(run);
    all.forEach(({ watched }, index) => {
      if (watched) tape.watch(pick(placed)(index), pick(targets)(index));
    });
    stale(run);
    for (let pass = 0; pass < passes; pass++) {
      const output = graph(onGpu(tape), pick(placed));
      tape.backward(output, gradient);
      tape.release(output);
      await run.flush();
    }
    await run.submit();
  }
  const found = await Promise.all(targets.map(async (target) => (await take(gpu, target)).values));
  for (const { buffer } of [...placed, ...targets, gradient]) gpu.memory.release(buffer);
  expect(gpu.memory.liveBytes).toBe(before);
  return found;
}

/** Memory that is handed out next is full of NaN: what is not assigned shows. */
function stale(run: Run): void {
  const tensors = [4, 8, 12, 16, 24].flatMap((cols) =>
    Array.from({ length: 6 }, () => run.allocate("stale", [ROWS, cols])),
  );
  for (const { buffer } of tensors) gpu.write(buffer, new Uint32Array(buffer.size / 4).fill(0x7fc00000));
  run.release(...tensors);
}

async function check(graph: Graph, all: readonly Parameter[]): Promise<void> {
  const [rows, cols] = evaluate(
    graph,
    all.map(({ matrix }) => matrix),
  ).shape;
  const weights = random(rows, cols).matrix;
  const wanted = differences(graph, all, weights);
  const found = await gradients(graph, all, weights);
  found.forEach((values, index) => expect(relativeError(values, pick(wanted)(index))).toBeLessThan(1e-4));
}

/** x + f(norm(x), other): a layer and its residual connection. */
const layer: <T>(maker: Maker<T>, hidden: T, weight: T, other: T) => T = (maker, hidden, weight, other) => {
  const { y: normed } = maker.apply(OPS.rmsNorm, { x: hidden, weight }, NORM);
  const { y: gated } = maker.apply(OPS.gatedActivation, { gate: normed, up: other }, { kind: "silu" });
  maker.release(normed);
  const { y } = maker.apply(OPS.add, { a: hidden, b: gated }, {});
  maker.release(gated);
  return y;
};

/** Three layers, of which `segmented` ones keep nothing for the backward pass. */
const stack =
  (segmented: boolean): Graph =>
  (maker, parameter) => {
    const [norm, other] = [parameter(1), parameter(2)];
    let hidden = parameter(0);
    for (let index = 0; index < 3; index++) {
      const weight = maker.rows(norm, index, 1);
      const before = hidden;
      const [after] = segmented
        ? maker.segment([before], (inner) => [layer(inner, before, weight, other)])
        : [layer(maker, before, weight, other)];
      hidden = after;
      if (index > 0) maker.release(before);
    }
    return hidden;
  };

test("a residual stream adds up what its readers send back", () => check(stack(false), parameters(12, 12, 12)));

test("segments are recorded again, and give the same bytes", async () => {
  const all = parameters(12, 12, 12);
  const weights = random(ROWS, 12).matrix;
  expect(await gradients(stack(true), all, weights)).toEqual(await gradients(stack(false), all, weights));
  await check(stack(true), all);
});

test("a segment may give several tensors, of which later ones and what is behind them read some", async () => {
  /** The second result of the first segment is read by two others; the third one by nobody. */
  const shared =
    (segmented: boolean): Graph =>
    (maker, parameter) => {
      const [x, norm, other] = [parameter(0), parameter(1), parameter(2)];
      const begin = (inner: typeof maker) => {
        const { y: kept } = inner.apply(OPS.rmsNorm, { x, weight: maker.rows(norm, 0, 1) }, NORM);
        const { y: unread } = inner.apply(OPS.add, { a: x, b: other }, {});
        return [layer(inner, x, maker.rows(norm, 1, 1), other), kept, unread] as const;
      };
      const [first, kept, unread] = segmented ? maker.segment([x], begin) : begin(maker);
      let hidden = first;
      for (const row of [2, 3]) {
        const before = hidden;
        const go = (inner: typeof maker) => [layer(inner, before, maker.rows(norm, row, 1), kept)] as const;
        [hidden] = segmented ? maker.segment([before, kept], go) : go(maker);
        maker.release(before);
      }
      maker.release(kept, unread);
      return hidden;
    };
  const all = parameters(12, 12, 12);
  const weights = random(ROWS, 12).matrix;
  expect(await gradients(shared(true), all, weights)).toEqual(await gradients(shared(false), all, weights));
  await check(shared(true), all);
});

test("micro-batches add up", async () => {
  const all = parameters(12, 12, 12);
  const weights = random(ROWS, 12).matrix;
  const once = await gradients(stack(false), all, weights);
  const thrice = await gradients(stack(false), all, weights, 3);
  thrice.forEach((values, index) => {
    expect(
      relativeError(
        values,
        pick(once)(index).map((value) => 3 * value),
      ),
    ).toBeLessThan(1e-6);
  });
});

test("an operand that is used twice in one op gets both gradients", () =>
  check((maker, parameter) => {
    const { y: once } = maker.apply(OPS.softcap, { x: parameter(0) }, { cap: 2 });
    const { y: product } = maker.apply(OPS.gatedActivation, { gate: once, up: once }, { kind: "gelu-tanh" });
    maker.release(once);
    const { y } = maker.apply(OPS.add, { a: product, b: product }, {});
    maker.release(product);
    return y;
  }, parameters(13)));

test("views of one buffer: parts, overlaps, and elements that nobody reads", () => {
  const constants = [0, 1].map(() => ({ matrix: random(ROWS, 4).matrix, watched: false }));
  return check(
    (maker, parameter) => {
      const [x, norm, cos, sin] = [parameter(0), parameter(1), parameter(2), parameter(3)];
      // A view of a parameter that is watched as a whole.
      const { y: all } = maker.apply(OPS.rmsNorm, { x, weight: maker.cols(maker.rows(norm, 1, 1), 4, 8) }, NORM);
      const [q, k, v] = [maker.cols(all, 0, 8), maker.cols(all, 8, 8), maker.cols(all, 16, 4)];
      const { q: query, ...others } = maker.apply(OPS.rope, { q, k, v, cos, sin }, { headSize: 8, neighbors: false });
      const [key, value] = [others.k ?? k, others.v ?? v];
      const { y: both } = maker.apply(OPS.gatedActivation, { gate: query, up: key }, { kind: "gelu" });
      maker.release(query, key);
      // Columns 12 to 20 are parts of k and v; columns 20 to 24 are read in some rows alone, by the softcap.
      const { y: overlap } = maker.apply(OPS.add, { a: both, b: maker.cols(all, 12, 8) }, {});
      const { y: corner } = maker.apply(OPS.softcap, { x: maker.rows(maker.cols(all, 16, 8), 2, 3) }, { cap: 1 });
      maker.release(all, both);
      const { y: sum } = maker.apply(OPS.add, { a: maker.rows(overlap, 1, 3), b: corner }, {});
      maker.release(overlap, corner);
      const { y } = maker.apply(OPS.add, { a: maker.cols(sum, 0, 4), b: maker.rows(value, 0, 3) }, {});
      maker.release(sum, value);
      return y;
    },
    [...parameters(24, 16), ...constants],
  );
});

/** x · weightᵀ. */
const product = <T>(maker: Maker<T>, x: T, weight: T): T =>
  maker.apply(OPS.linear, { x, weight, bias: undefined, residual: undefined }, {}).y;

test("gradients of weights are added: to a parameter, a part of one, an activation, an operand that is x as well", () =>
  check(
    (maker, parameter) => {
      const [x, weight] = [parameter(0), parameter(1)];
      const whole = product(maker, x, weight);
      const part = product(maker, maker.rows(x, 0, 4), maker.rows(weight, 1, 4));
      const { y: bent } = maker.apply(OPS.softcap, { x: weight }, { cap: 2 });
      const twice = product(maker, bent, bent);
      maker.release(bent);
      const { y: sum } = maker.apply(OPS.add, { a: whole, b: twice }, {});
      maker.release(whole, twice);
      const { y: all } = maker.apply(OPS.add, { a: part, b: maker.rows(maker.cols(sum, 0, 4), 0, 4) }, {});
      maker.release(part, sum);
      const y = product(maker, all, maker.cols(weight, 4, 4));
      maker.release(all);
      return y;
    },
    parameters(8, 8),
  ));

test("a part of a weight may be watched", async () => {
  using run = new Run(gpu);
  const tape = new Tape(run);
  const weight = run.upload("weight", [3, 4], new Float32Array(12).fill(1));
  const gradient = run.keep(run.upload("gradient", [1, 4], new Float32Array(4).fill(0.5)));
  tape.watch(sliceRows(weight, 1, 1), gradient);
  stale(run);
  const x = run.upload("x", [2, 4], Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8]));
  const { y } = tape.apply(OPS.linear, { x, weight, bias: undefined, residual: undefined }, {});
  tape.backward(y, run.upload("dy", [2, 3], Float32Array.from([9, 1, 9, 9, 10, 9])));
  await run.submit();
  expect([...new Float32Array((await read(gpu, gradient.buffer)).buffer)]).toEqual([51.5, 62.5, 73.5, 84.5]);
  gpu.memory.release(gradient.buffer);
});

test("what nobody consumes sends nothing back", () =>
  check(
    (maker, parameter) => {
      const { y } = maker.apply(OPS.softcap, { x: parameter(0) }, { cap: 1 });
      const { y: unread } = maker.apply(OPS.activation, { x: y }, { kind: "silu" });
      maker.release(unread);
      const { y: end } = maker.apply(OPS.add, { a: y, b: parameter(1) }, {});
      maker.release(y);
      return end;
    },
    parameters(9, 9),
  ));

test("kernels that are no op join as a node", () => {
  /** y = a + 2b; backward reads nothing. */
  const node: Graph = <T>(maker: Maker<T>, parameter: (index: number) => T): T => {
    const { y: a } = maker.apply(OPS.softcap, { x: parameter(0) }, { cap: 3 });
    const y = maker.custom(a, parameter(1));
    maker.release(a);
    return y;
  };
  return check(node, parameters(7, 7));
});
