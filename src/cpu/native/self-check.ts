// Each kernel of machine code computes small products beside the module's before anything is trusted to it.
import { GEMM } from "../families/gemm.ts";
import type { Heaps } from "../heap.ts";
import type { NativeCode } from "./choose.ts";
import { nativeKernels } from "./kernels/index.ts";
import { FMA_KERNELS } from "./kernels/names.ts";
import { wordsOf } from "./parameters.ts";

/** Sums of a few hundred products of numbers up to 2 differ by less than this, whatever order they are added in. */
const TOLERANCE = 1e-3;

const AT = wordsOf(GEMM);
/** More terms than a partial sum has, columns that fill no panel, and numbers from row to row where these run across the terms. */
const [TERMS, COLS, ACROSS] = [260, 37, 40];
/** The orders of a product as `aTerms` and `bTerms`, the rows of y, and the formats of b: a way for few rows, and one for more. */
const CASES = [
  { order: "x Wᵀ of few rows", aTerms: 0, bTerms: 0, rows: 3, formats: 3 },
  { order: "x Wᵀ", aTerms: 0, bTerms: 0, rows: 17, formats: 3 },
  { order: "xW", aTerms: 0, bTerms: 1, rows: 17, formats: 3 },
  { order: "xᵀW", aTerms: 1, bTerms: 1, rows: 17, formats: 1 },
] as const;
const FORMATS = ["F32", "F16", "BF16"] as const;
/** The bits of 1. */
const ONE = 0x3f800000;
/** Bytes of an operand, of a result, of parameters. */
const ROOM = { operand: TERMS * ACROSS * 4 + 64, result: TERMS * 64, parameters: 256 } as const;

type Kernel = (parameters: number, piece: number, scratch: number) => void;

/** What there is to compute with, before there are workers. */
interface Place {
  readonly module: WebAssembly.Module;
  readonly heaps: Heaps;
  /** A worker's scratch in the first heap. */
  readonly scratch: number;
}

/** @returns the first kernel that differs, in words; undefined where all is right */
export function selfCheck(code: NativeCode, { module, heaps, scratch }: Place): string | undefined {
  const [memory] = heaps.memories;
  if (memory === undefined) return undefined;
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const native = nativeKernels(code, memory, scratch, exports)[FMA_KERNELS.indexOf("gemm")] as Kernel;
  const usual = exports["gemm"] as Kernel;
  const { block } = heaps.take("self-check", 2 * (ROOM.operand + ROOM.result) + ROOM.parameters, { heap: 0 });
  try {
    for (const one of CASES) {
      for (let dtype = 0; dtype < one.formats; dtype++) {
        if (
          differ(new Uint32Array(memory.buffer), block.at, { ...one, dtype }, (kernel, parameters) =>
            (kernel === "native" ? native : usual)(parameters, 0, scratch),
          )
        )
          return `${one.order}, ${FORMATS[dtype] ?? ""},`;
      }
    }
    return undefined;
  } finally {
    heaps.give(block, 0);
  }
}

/** Whether both kernels give other products of the same numbers. */
function differ(
  words: Uint32Array,
  at: number,
  { aTerms, bTerms, rows, dtype }: Omit<(typeof CASES)[number], "order" | "formats"> & { readonly dtype: number },
  run: (kernel: "native" | "module", parameters: number) => void,
): boolean {
  const numbers = new Float32Array(words.buffer);
  const halves = new Uint16Array(words.buffer);
  const [a, b, found] = [at, at + ROOM.operand, at + 2 * ROOM.operand];
  const wanted = found + ROOM.result;
  const parameters = wanted + ROOM.result;
  for (let index = 0; index < TERMS * ACROSS; index++) {
    numbers[a / 4 + index] = Math.sin(index * 1.7);
    if (dtype === 0) numbers[b / 4 + index] = Math.cos(index * 2.3);
    // From 1/2 to 2, of both signs.
    else
      halves[b / 2 + index] =
        ((index % 3) << 15) | (dtype === 1 ? 0x3800 + ((index * 37) & 0x7ff) : 0x3f00 + ((index * 37) & 0xff));
  }
  const bytes = dtype === 0 ? 4 : 2;
  for (const [kernel, y] of [
    ["native", found],
    ["module", wanted],
  ] as const) {
    const values = {
      rows,
      cols: COLS,
      terms: TERMS,
      aTerms,
      bTerms,
      a,
      b,
      dtype,
      y,
      yPitch: ACROSS * 4,
      scale: ONE,
      aPitch: (aTerms === 1 ? ACROSS : TERMS) * 4,
      bPitch: (bTerms === 1 ? ACROSS : TERMS) * bytes,
      pieceRows: rows,
      pieceCols: COLS,
      pieces: 1,
    };
    words.fill(0, parameters / 4, parameters / 4 + AT.count);
    for (const [name, value] of Object.entries(values)) words[parameters / 4 + AT[name as keyof typeof values]] = value;
    run(kernel, parameters);
  }
  for (let row = 0; row < rows; row++) {
    for (let index = row * ACROSS; index < row * ACROSS + COLS; index++) {
      const difference = Math.abs((numbers[found / 4 + index] ?? NaN) - (numbers[wanted / 4 + index] ?? NaN));
      if (!(difference < TOLERANCE)) return true;
    }
  }
  return false;
}
