import { expect, test } from "bun:test";
import { type Shape, tensorIn } from "../device/tensor.ts";
import { read } from "../device/transfer.ts";
import { OPS } from "../tensor/ops/index.ts";
import { Run } from "../tensor/run.ts";
import { sliceRows, type Tensor } from "../tensor/tensor.ts";
import { CpuDevice } from "./cpu.ts";
import { NORMED_GEMM } from "./families/normed-linear.ts";
import { CODES, codeOf } from "./native/testing/codes.ts";
import { routineKernels } from "./native/kernels/index.ts";
import modulePath from "./kernels.wasm" with { type: "file" };
import { SCRATCH_BYTES } from "./layout.ts";
import { pack } from "./parameters.ts";

/** A worker whom a word of 32 bits has none for. */
const MANY = 32;
const PAGE = 2 ** 16;
const [ROWS, TERMS, COLS, PIECE_COLS] = [2, 8, 16, 8];

test.each(["wasm", ...CODES] as const)(
  "each of any number of workers normalizes the rows for itself, once a command: %s",
  async (code) => {
    const pages = ((MANY + 2) * SCRATCH_BYTES) / PAGE;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const module = await WebAssembly.compile(await Bun.file(modulePath).arrayBuffer());
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    const normedGemm = (parameters: number, piece: number, scratch: number, again: boolean): void =>
      routineKernels(() => codeOf(code), memory, scratch, exports)["normedGemm"]?.(parameters, piece, scratch, again);
    const floats = new Float32Array(memory.buffer);
    let end = (MANY + 1) * SCRATCH_BYTES + 64;
    const numbers = (...shape: Shape) => {
      const offset = end / 4;
      const values = Float32Array.from({ length: shape[0] * shape[1] }, (_, at) => Math.sin(1 + at));
      floats.set(values, offset);
      end += values.byteLength;
      return { ...tensorIn({ label: "numbers", size: values.byteLength }, shape, "F32"), offset };
    };
    const y = numbers(ROWS, COLS);
    const a = numbers(ROWS, TERMS);
    const x = floats.slice(a.offset, a.offset + ROWS * TERMS);
    const { words } = pack(NORMED_GEMM, {
      rows: ROWS,
      cols: COLS,
      terms: TERMS,
      aTerms: false,
      bTerms: false,
      a,
      b: numbers(COLS, TERMS),
      y,
      bias: undefined,
      residual: undefined,
      accumulate: false,
      scale: 1,
      pieceRows: ROWS,
      pieceCols: PIECE_COLS,
      pieces: COLS / PIECE_COLS,
      weight: numbers(1, TERMS),
      offset: 0,
      epsilon: 1e-5,
      branch: undefined,
      branchWeight: undefined,
      sum: undefined,
      gate: 0,
    });
    /** What comes of the two pieces by the workers of these numbers, one of whom finds x gone at its second. */
    const computed = (...workers: readonly number[]) => {
      floats.set(x, a.offset);
      new Uint32Array(memory.buffer, end, words.length).set(words);
      floats.fill(0, 0, y.offset + ROWS * COLS);
      workers.forEach((worker, piece) => {
        const again = workers.indexOf(worker) < piece;
        if (again) floats.fill(0, a.offset, a.offset + x.length);
        normedGemm(end, piece, 64 + worker * SCRATCH_BYTES, again);
      });
      return [...floats.subarray(y.offset, y.offset + ROWS * COLS)];
    };
    const wanted = computed(0, 1);
    expect(wanted.filter((value) => value !== 0)).toHaveLength(ROWS * COLS);
    for (const workers of [
      [0, 0],
      [31, 0],
      [0, MANY],
      [MANY, MANY],
    ])
      expect(computed(...workers)).toEqual(wanted);
  },
);

test("a worker normalizes no rows again for its later pieces: the first may lie over them", async () => {
  using device = await CpuDevice.open({ threads: 1 });
  const size = 1024;
  const product = async (isOver: boolean) => {
    using run = new Run(device);
    const numbers = (rows: number) =>
      run.upload(
        "numbers",
        [rows, size],
        Float32Array.from({ length: rows * size }, (_, at) => Math.sin(at * 1.3)),
      );
    const [x, other, norm, weight] = [numbers(ROWS), numbers(ROWS), numbers(1), numbers(size)];
    const y = run.keep(isOver ? x : other);
    const inputNorm = { weight: norm, offset: 0, epsilon: 1e-5, branch: undefined };
    run.compute("normedLinear", { x, norm: inputNorm, weight, bias: undefined, gate: undefined, y });
    await run.submit();
    return read(device, y.buffer);
  };
  expect(await product(true)).toEqual(await product(false));
});

test.each([
  [32, 4096],
  [24, 2048],
  [32, 1536],
  [5, 1536],
])(
  "gated products of %d normalized rows of %d numbers, which share a scratch, have the bits of commands",
  async (rows, terms) => {
    using device = await CpuDevice.open({ threads: 2 });
    using run = new Run(device);
    const cols = 128;
    const numbers = (height: number, width: number) =>
      run.upload(
        "numbers",
        [height, width],
        Float32Array.from({ length: height * width }, (_, at) => Math.sin(at * 1.3)),
      );
    const [x, norm, weight] = [numbers(rows, terms), numbers(1, terms), numbers(2 * cols, terms)];
    const attributes = { epsilon: 1e-5, offset: 0 };
    const inputs = { x, norm, weight, bias: undefined, branch: undefined, branchNorm: undefined };
    const together = run.apply(OPS.normedLinear, inputs, { ...attributes, gate: "silu", rowsAtMost: undefined }).y;
    const { y: normed } = run.apply(OPS.rmsNorm, { x, weight: norm }, attributes);
    const halves = [0, cols].map((first) => {
      const half = sliceRows(weight, first, cols);
      return run.apply(OPS.linear, { x: normed, weight: half, bias: undefined, residual: undefined }, {}).y;
    });
    const [gate, up] = halves as [Tensor, Tensor];
    const { y: one } = run.apply(OPS.gatedActivation, { gate, up }, { kind: "silu" });
    const kept = [together, one].map((tensor) => run.keep(tensor));
    await run.submit();
    const [found, wanted] = await Promise.all(kept.map(({ buffer }) => read(device, buffer)));
    expect(found).toEqual(wanted);
  },
);
