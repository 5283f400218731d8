// What each kernel of machine code computes, beside the module's, before anything is trusted to it.
import { KEYS, QUERIES } from "../families/attention-gradient.ts";
import { ATTENTION } from "../families/attention.ts";
import { BASIS_GRADIENT } from "../families/basis-gradient.ts";
import { CODES } from "../families/basis.ts";
import { cpuRows } from "../families/elementwise.ts";
import { DELTA } from "../families/delta.ts";
import { GATED_DELTA, GATED_DELTA_GRADIENT } from "../families/gated-delta.ts";
import { GEMM } from "../families/gemm.ts";
import { TERNARY } from "../families/ternary.ts";
import type { CpuKernel, Members } from "../parameters.ts";
import { BLOCK, q8RowBytes, quantBytes, scaleBytes } from "../../device/blocks.ts";
import {
  BLOCK_DTYPES,
  type BlockDtype,
  DTYPE_CODES,
  isBlockDtype,
  NUMBER_DTYPES,
  type StoredDtype,
} from "../../device/dtype.ts";
import { ROW_KERNELS } from "../../rows/index.ts";
import { STORED_BYTES, type Stored } from "./machine.ts";
import { LISTED_TERMS } from "./routines/layout.ts";

/** More terms than a partial sum has, rows that are several tiles, columns that fill no panel, and numbers from row to row of these. */
const [TERMS, ROWS, COLS, ACROSS] = [288, 17, 37, 40];
/** Terms that share a row of Ŝ's slow factor. */
const FAST = 20;
/** The bits of 1. */
const ONE = 0x3f800000;
const EIGHTH = 0x3e000000;
/** Bytes of an operand, of a result, of parameters. */
export const ROOM = { operand: TERMS * ACROSS * 4, result: ACROSS * ACROSS * 4, parameters: 256 } as const;

/** Where operands and the result are. */
export interface Addresses {
  readonly a: number;
  readonly b: number;
  readonly y: number;
}

/** One computation of both. */
export interface Check {
  readonly name: string;
  readonly kernel: CpuKernel<Members>;
  /** Of b; a is F32. */
  readonly stored: StoredDtype;
  readonly values: (places: Addresses) => Readonly<Record<string, number>>;
  /** Writes what of the operands are no such numbers. */
  readonly prepare?: (words: Uint32Array, places: Addresses) => void;
}

function product(name: string, rows: number, aTerms: 0 | 1, bTerms: 0 | 1, stored: Stored): Check {
  return {
    name: `${name}, ${stored}`,
    kernel: GEMM,
    stored,
    values: (places) => ({
      ...places,
      rows,
      cols: COLS,
      terms: TERMS,
      aTerms,
      bTerms,
      bDtype: DTYPE_CODES[stored],
      yPitch: ACROSS * 4,
      aPitch: (aTerms === 1 ? ACROSS : TERMS) * 4,
      bPitch: (bTerms === 1 ? ACROSS : TERMS) * STORED_BYTES[stored],
      pieceRows: rows,
      pieceCols: COLS,
      pieces: 1,
      scale: ONE,
    }),
  };
}

/** 2^-8 as f16 and as bf16, and where scales of blocks lie. */
const SCALE = 0x1c00;
const BF16_SCALE = 0x3b80;
const SCALES_AT = 2 ** 14;

function blockProduct(name: string, rows: number, bTerms: 0 | 1, stored: BlockDtype): Check {
  const [cols, blocks] = bTerms === 1 ? [BLOCK, 1] : [COLS, TERMS / BLOCK];
  return {
    name: `${name}, ${stored}`,
    kernel: GEMM,
    stored,
    values: (places) => ({
      ...product(name, rows, 0, bTerms, "F32").values(places),
      cols,
      pieceCols: cols,
      bDtype: DTYPE_CODES[stored],
      bPitch: blocks * quantBytes(stored),
      bScales: places.b + SCALES_AT,
      bScalesPitch: blocks * scaleBytes(stored),
    }),
  };
}

/** Where a has what gradients need of each token, and words from row to row of it. */
const [STATS_AT, STATS_PITCH] = [2 ** 13, 20];

/** Attention of a few tokens in two heads, which share a kv head, to as many keys as a chunk and a bit. */
function attended(
  name: string,
  kernel: CpuKernel<Members>,
  cap: number,
  stored: "F32" | "F16" | "Q8_0" = "F32",
): Check {
  const [tokens, keys, head] = [ROWS, 260, stored === "Q8_0" ? BLOCK : 8];
  const width = 2 * head * 4;
  const keysHead = stored === "Q8_0" ? q8RowBytes(head) : head * STORED_BYTES[stored];
  return {
    name: cap === 0 ? name : `${name} with soft cap`,
    kernel,
    stored,
    values: ({ a, b, y }) => ({
      tokens,
      heads: 2,
      kvHeads: 1,
      group: 2,
      head,
      firstPosition: keys - tokens,
      window: 0x7fffffff,
      scale: EIGHTH,
      cap,
      q: a,
      qPitch: width,
      keys: b,
      keysPitch: 2 * keysHead,
      values: b + keysHead,
      valuesPitch: 2 * keysHead,
      y,
      yPitch: width,
      lse: y + tokens * width,
      lsePitch: 16,
      pieceTokens: tokens,
      pieceHeads: 2,
      headBlocks: 1,
      parts: 1,
      recordBytes: (4 + head) * 4,
      dtype: DTYPE_CODES[stored],
      pieces: 1,
      positions: tokens,
      dy: a + tokens * width,
      dyPitch: width,
      stats: a + STATS_AT,
      statsPitch: 4 * STATS_PITCH,
      dq: y,
      dqPitch: width,
      dkeys: y,
      dkeysPitch: width,
      dvalues: y + head * 4,
      dvaluesPitch: width,
      pieceRows: tokens,
      chunk: 256,
    }),
    // The first and the last key of each token; the other two numbers are as good as any.
    prepare: (words, { a, b }) => {
      const end = stored === "Q8_0" ? b + 2 * keys * keysHead : b;
      for (let row = b; row < end; row += keysHead) {
        new Uint8Array(words.buffer, row, head).forEach((_, at, quants) => (quants[at] = (row + at) * 37));
        new Uint16Array(words.buffer, row + head, 1).fill(SCALE);
      }
      const stats = (a + STATS_AT) / 4;
      for (let token = 0; token < STATS_PITCH; token++) {
        words[stats + token] = token < tokens ? 0 : 0x7fffffff;
        words[stats + STATS_PITCH + token] = token < tokens ? token : 0;
      }
    },
  };
}

/** The gated delta rule of two heads over three blocks of one text; keys are short enough for a state to stay small. */
function deltaRule({ a, b, y }: Addresses): Readonly<Record<string, number>> {
  const [width, pitch] = [4 * 4, ACROSS * 4];
  return {
    tokens: ROWS,
    heads: 2,
    keyHeads: 1,
    keySize: 4,
    valueSize: 4,
    block: 8,
    qk: a,
    qkPitch: 2 * width,
    v: b,
    vPitch: 2 * width,
    gates: b + ROWS * 2 * width,
    gatesPitch: width,
    decays: a + ROWS * 2 * width,
    states: a + 2 * ROWS * 2 * width,
    statesPitch: 8 * width,
    firstPosition: 0,
    y,
    yPitch: pitch,
    dy: b + 2 * ROWS * 2 * width,
    dyPitch: 2 * width,
    dqk: y,
    dqkPitch: pitch,
    dv: y + 2 * width,
    dvPitch: pitch,
    dgates: y + 4 * width,
    dgatesPitch: pitch,
  };
}

/** Codes of a ternary B̂ lie behind λ. */
const CODES_AT = 2 ** 11;

function deltaValues({ a, b, y }: Addresses, transposed: number): Readonly<Record<string, number>> {
  return {
    storage: 0,
    at: a,
    rowBytes: TERMS * 4,
    lambda: a,
    fastCount: FAST,
    fast: b,
    fastPitch: ACROSS * 4,
    slow: b + FAST * ACROSS * 4,
    slowPitch: ACROSS * 4,
    rows: ROWS,
    cols: COLS,
    terms: TERMS,
    scale: ONE,
    target: y,
    targetPitch: ACROSS * 4,
    transposed,
    pieceRows: ROWS,
    pieceCols: COLS,
    pieces: 1,
  };
}

function ternary(name: string, transposed: 0 | 1, listTerms: number): Check {
  return {
    name,
    kernel: TERNARY,
    stored: "F32",
    values: (places) => ({
      ...deltaValues(places, transposed),
      storage: CODES,
      at: places.a + CODES_AT,
      rowBytes: TERMS / 4,
      codes: places.a + CODES_AT,
      codesPitch: TERMS / 4,
      listTerms,
    }),
    prepare: (words, { a }) => {
      // 1 and 2, and no 3.
      for (let at = (a + CODES_AT) / 4; at < (a + ROOM.operand) / 4; at++) {
        const codes = words[at] ?? 0;
        words[at] = codes & ~((codes >>> 1) & 0x55555555);
      }
    },
  };
}

export const CHECKS: readonly Check[] = [
  ...BLOCK_DTYPES.flatMap((stored) => [
    blockProduct("x Wᵀ of a row", 1, 0, stored),
    blockProduct("x Wᵀ", ROWS, 0, stored),
    blockProduct("xW", ROWS, 1, stored),
  ]),
  ...NUMBER_DTYPES.flatMap((stored) => [
    product("x Wᵀ of few rows", 3, 0, 0, stored),
    product("x Wᵀ", ROWS, 0, 0, stored),
    product("xW", ROWS, 0, 1, stored),
  ]),
  product("xᵀW", ROWS, 1, 1, "F32"),
  ...[0, ONE].flatMap((cap) => [
    attended("attention", ATTENTION, cap),
    attended("attention to keys in F16", ATTENTION, cap, "F16"),
    attended("attention to keys in Q8_0", ATTENTION, cap, "Q8_0"),
    attended("the gradient of attention's queries", QUERIES, cap),
    attended("the gradients of attention's keys and values", KEYS, cap),
  ]),
  {
    name: "gradients of λ and γ",
    kernel: BASIS_GRADIENT,
    stored: "F32",
    values: ({ a, b, y }) => ({
      storage: 0,
      left: a,
      leftPitch: ACROSS * 4,
      rows: ROWS,
      cols: COLS,
      terms: TERMS,
      right: b,
      rightPitch: ACROSS * 4,
      bases: 1,
      rank: ROWS,
      peft: 1,
      a: b,
      aPitch: ACROSS * 4,
      lambda: b,
      lambdaPitch: 4,
      gamma: b,
      gammaPitch: ACROSS * 4,
      lambdaParts: y,
      gammaParts: y + ACROSS * 4,
      partPitch: ACROSS * 4,
      sliceRows: ROWS,
      blockCols: ACROSS,
      blocks: 1,
    }),
  },
  {
    name: "the gated delta rule",
    kernel: GATED_DELTA,
    stored: "F32",
    values: (places) => ({ ...deltaRule(places), states: places.y + 4 * ROWS * ACROSS, statesPitch: 8 * 4 * 4 }),
  },
  { name: "gradients of the gated delta rule", kernel: GATED_DELTA_GRADIENT, stored: "F32", values: deltaRule },
  ...[0, 1].map((transposed) => ({
    name: transposed === 1 ? "ΔWᵀ" : "ΔW",
    kernel: DELTA,
    stored: "F32" as const,
    values: (places: Addresses) => deltaValues(places, transposed),
  })),
  ternary("ternary ΔW", 0, 256),
  ternary("ternary ΔWᵀ", 1, 256),
  ternary("ternary ΔW by long lists", 0, LISTED_TERMS),
];

/** Numbers of both signs, up to 2. */
export function fill(words: Uint32Array, at: number, stored: StoredDtype): void {
  if (isBlockDtype(stored)) {
    const bytes = new Uint8Array(words.buffer, at, SCALES_AT);
    bytes.forEach((_, index) => (bytes[index] = index * 37));
    if (stored === "Q6_K") new Float32Array(words.buffer, at + SCALES_AT, TERMS * 3).fill(2 ** -8);
    else new Uint16Array(words.buffer, at + SCALES_AT, TERMS * 2).fill(stored === "MXFP4" ? BF16_SCALE : SCALE);
    return;
  }
  if (stored === "F32") {
    const numbers = new Float32Array(words.buffer, at, ROOM.operand / 4);
    numbers.forEach((_, index) => (numbers[index] = Math.sin(index * 1.7)));
    return;
  }
  const [least, span] = stored === "F16" ? [0x3800, 0x7ff] : [0x3f00, 0xff];
  const halves = new Uint16Array(words.buffer, at, ROOM.operand / 2);
  halves.forEach((_, index) => (halves[index] = ((index % 3) << 15) | (least + ((index * 37) & span))));
}

/** Of a row kernel: vectors that no code has a whole number of. */
export function rowCheck(name: string): Check | undefined {
  const rows = ROW_KERNELS.get(name);
  if (rows === undefined) return undefined;
  const kernel = cpuRows(rows);
  const [width, pitch] = [Math.floor(COLS / 4), ACROSS * 4];
  const targets = Object.keys(rows.targets);
  return {
    name,
    kernel,
    stored: "F32",
    values({ a, b, y }) {
      const at = Object.entries(kernel.members).flatMap(([member, kind], index): [string, number][] => {
        if (kind === "f32") return [[member, ONE]];
        if (kind !== "matrix" && kind !== "target") return [];
        const place = kind === "target" ? y + targets.indexOf(member) * ROWS * pitch : index % 2 === 0 ? a : b;
        return [
          [member, place],
          [`${member}Pitch`, pitch],
        ];
      });
      // Its last vector is no whole one.
      const shape = { rows: ROWS, width, segments: 1, cols: 4 * width - 1 };
      return { ...shape, pieceRows: ROWS, pieceWidth: width, pieces: 1, ...Object.fromEntries(at) };
    },
  };
}
