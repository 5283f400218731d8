import { expect, test } from "bun:test";
import { NORMED_GEMM } from "./families/normed-linear.ts";
import { CODES, mappedCode } from "./native/testing/codes.ts";
import { nativeKernels } from "./native/kernels/index.ts";
import { FMA_KERNELS } from "./native/kernels/names.ts";
import modulePath from "./kernels.wasm" with { type: "file" };
import { SCRATCH_BYTES } from "./layout.ts";
import { pack } from "./parameters.ts";

/** One that a word has no bit for, and whose number ends like that of the first. */
const MANY = 32;
const PAGE = 2 ** 16;
const [ROWS, TERMS, COLS, PIECE_COLS] = [2, 8, 16, 8];

test.each(CODES)(
  "every worker normalizes the rows for itself, once a command or, beyond those that a word has bits for, once a piece: %s",
  async (code) => {
    const pages = ((MANY + 2) * SCRATCH_BYTES) / PAGE;
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const module = await WebAssembly.compile(await Bun.file(modulePath).arrayBuffer());
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    const normedGemm = (parameters: number, piece: number, scratch: number): void =>
      nativeKernels(() => mappedCode(code), memory, scratch, exports)[FMA_KERNELS.indexOf("normedGemm")]?.(
        parameters,
        piece,
      );
    const floats = new Float32Array(memory.buffer);
    let end = (MANY + 1) * SCRATCH_BYTES + 64;
    const place = (values: Float32Array) => {
      const offset = end;
      floats.set(values, offset / 4);
      end += values.byteLength;
      return {
        buffer: { label: "numbers", size: values.byteLength },
        offset,
        size: values.byteLength,
        access: "read",
      } as const;
    };
    const numbers = (count: number) => Float32Array.from({ length: count }, (_, at) => Math.sin(1 + at));
    const y = place(new Float32Array(ROWS * COLS));
    const { words } = pack(NORMED_GEMM, {
      rows: ROWS,
      cols: COLS,
      terms: TERMS,
      aTerms: false,
      bTerms: false,
      a: place(numbers(ROWS * TERMS)),
      aPitch: TERMS * 4,
      b: place(numbers(COLS * TERMS)),
      bPitch: TERMS * 4,
      dtype: 0,
      scales: undefined,
      scalesPitch: 0,
      y,
      yPitch: COLS * 4,
      bias: undefined,
      residual: undefined,
      residualPitch: 0,
      accumulate: false,
      scale: 1,
      pieceRows: ROWS,
      pieceCols: PIECE_COLS,
      pieces: COLS / PIECE_COLS,
      weight: place(numbers(TERMS)),
      offset: 0,
      epsilon: 1e-5,
      branch: undefined,
      branchPitch: 0,
      branchWeight: undefined,
      sum: undefined,
      sumPitch: 0,
      gate: 0,
      normalized: 0,
    });
    /** What comes of the two pieces by the workers of these numbers. */
    const computed = (...workers: readonly number[]) => {
      new Uint32Array(memory.buffer, end, words.length).set(words);
      floats.fill(0, 0, y.offset / 4 + ROWS * COLS);
      workers.forEach((worker, piece) => normedGemm(end, piece, 64 + worker * SCRATCH_BYTES));
      return [...floats.subarray(y.offset / 4, y.offset / 4 + ROWS * COLS)];
    };
    const wanted = computed(0, 0);
    expect(wanted.filter((value) => value !== 0)).toHaveLength(ROWS * COLS);
    for (const workers of [
      [0, 1],
      [31, 0],
      [0, MANY],
      [MANY, MANY],
    ])
      expect(computed(...workers)).toEqual(wanted);
  },
);
