import { ROW_KERNELS } from "../../rows/index.ts";
import type { Blocks, Machine, Stored } from "./machine.ts";
import { panelFromBlocks, panelOfBlocks, round, tileOfBlocks } from "./routines/blocks.ts";
import { along } from "./routines/along.ts";
import { copy } from "./routines/copy.ts";
import { deltaWalk } from "./routines/delta-walk.ts";
import { FEW_ROWS, few } from "./routines/few.ts";
import { FEW_BLOCK_ROWS, fewBlocks } from "./routines/few-blocks.ts";
import { type Added, finish, finishFew } from "./routines/finish.ts";
import { panelCols } from "./routines/layout.ts";
import { sumLists } from "./routines/lists.ts";
import { panelFromRows } from "./routines/panels.ts";
import { rescale } from "./routines/rescale.ts";
import { rowKernel } from "./routines/rows.ts";
import { scaled } from "./routines/scaled.ts";
import { slopes } from "./routines/slopes.ts";
import { ALONG_ROWS, softmaxAlong } from "./routines/softmax-along.ts";
import { join, logSums, softmax } from "./routines/softmax.ts";
import { WEIGHTED_ROWS, weighted } from "./routines/weighted.ts";
import { tile } from "./routines/tile.ts";

/** Routines by number. */
export interface Routines {
  readonly copy: Readonly<Record<Stored, number>>;
  readonly panelFromRows: Readonly<Record<Stored, number>>;
  readonly deltaWalk: number;
  readonly scaled: number;
  readonly sumLists: number;
  readonly round: number;
  readonly panelOfBlocks: Readonly<Record<Blocks, number>>;
  /** By the number of rows; of 0 there is none. */
  readonly fewBlocks: Readonly<Record<Blocks, readonly number[]>>;
  /** By the number of rows; of 0 there is none. */
  readonly tileOfBlocks: readonly number[];
  /** Of the first and the second half of a block. */
  readonly panelFromBlocks: Readonly<Record<Blocks, readonly number[]>>;
  /** By the number of rows; of 0 there is none. */
  readonly few: Readonly<Record<Stored, readonly number[]>>;
  /** By the number of rows; of 0 there is none. */
  readonly tileAlongTerms: readonly number[];
  readonly tileAlongRows: readonly number[];
  /** By what is added: 1 for what y had, 2 for bias, 4 for residual. */
  readonly finish: readonly number[];
  readonly finishFew: readonly number[];
  /** Of attention; by whether scores have a cap. */
  readonly softmax: readonly number[];
  /** By whether scores have a cap, and the number of rows; of 0 there is none. */
  readonly softmaxAlong: readonly (readonly number[])[];
  /** By the number of rows; of 0 there is none. */
  readonly weighted: Readonly<Record<"F32" | "F16", readonly number[]>>;
  readonly join: number;
  readonly logSums: number;
  readonly rescale: number;
  readonly divide: number;
  /** Of row kernels, in the order of ROW_KERNELS. */
  readonly rows: readonly number[];
  readonly slopes: { readonly queries: readonly number[]; readonly keys: readonly number[] };
}

/** The number of what JavaScript calls with a routine's address. */
export const ENTER = 0;

/** All routines for one processor. */
export interface Program {
  /** `ENTER`, and all below. */
  readonly count: number;
  /** Code of the routine of this number, which runs wherever it lies. */
  readonly write: (routine: number) => Uint8Array<ArrayBuffer>;
  readonly routines: Routines;
  readonly panelCols: number;
  readonly tileRows: number;
  readonly wholeRows: number;
  /** Rows of a matrix that `few` takes side by side. */
  readonly fewCols: number;
  readonly fewRows: number;
  /** Whether products with rows of a matrix sum along the terms. */
  readonly along: boolean;
}

/** @param enter writes what JavaScript calls, by the platform's convention */
export function program(m: Machine, enter: () => void): Program {
  const writers = [enter];
  const routine = (write: () => void): number => {
    writers.push(() => {
      write();
      m.end();
    });
    return writers.length - 1;
  };
  const stored = (write: (stored: Stored) => void): Record<Stored, number> => ({
    F32: routine(() => write("F32")),
    F16: routine(() => write("F16")),
    BF16: routine(() => write("BF16")),
  });
  const byRows = (most: number, write: (rows: number) => void) =>
    Array.from({ length: most + 1 }, (_, rows) => (rows === 0 ? 0 : routine(() => write(rows))));
  const tiles = (along: "terms" | "rows") => byRows(m.tile.rows, (rows) => tile(m, rows, along));
  const { addLanes } = m;
  const fewRows = (format: Stored) => {
    if (addLanes === undefined) return byRows(FEW_ROWS, (rows) => few(m, rows, format));
    const [, one = 0, two = 0] = byRows(2, (rows) => along(m, addLanes, rows, format));
    return Array.from({ length: FEW_ROWS + 1 }, (_, rows) => (rows > 1 ? two : one));
  };
  const fewOfBlocks = (blocks: Blocks) => byRows(FEW_BLOCK_ROWS, (rows) => fewBlocks(m, rows, blocks));
  const halves = (blocks: Blocks) => [false, true].map((second) => routine(() => panelFromBlocks(m, blocks, second)));
  const byAdded = (write: (adds: Added) => void) =>
    Array.from({ length: 8 }, (_, adds) =>
      routine(() => write({ y: (adds & 1) !== 0, bias: (adds & 2) !== 0, residual: (adds & 4) !== 0 })),
    );
  const byCap = (write: (caps: boolean) => void) => [false, true].map((caps) => routine(() => write(caps)));
  const routines: Routines = {
    copy: stored((format) => copy(m, format)),
    panelFromRows: stored((format) => panelFromRows(m, format)),
    deltaWalk: routine(() => deltaWalk(m)),
    scaled: routine(() => scaled(m)),
    sumLists: routine(() => sumLists(m)),
    round: routine(() => round(m)),
    panelOfBlocks: { Q8_0: routine(() => panelOfBlocks(m, "Q8_0")), Q4_0: routine(() => panelOfBlocks(m, "Q4_0")) },
    fewBlocks: { Q8_0: fewOfBlocks("Q8_0"), Q4_0: fewOfBlocks("Q4_0") },
    tileOfBlocks: byRows(m.wholeRows, (rows) => tileOfBlocks(m, rows)),
    panelFromBlocks: { Q8_0: halves("Q8_0"), Q4_0: halves("Q4_0") },
    few: {
      F32: fewRows("F32"),
      F16: fewRows("F16"),
      BF16: fewRows("BF16"),
    },
    tileAlongTerms: tiles("terms"),
    tileAlongRows: tiles("rows"),
    finish: byAdded((adds) => finish(m, adds)),
    finishFew: byAdded((adds) => finishFew(m, adds)),
    softmax: byCap((caps) => softmax(m, caps)),
    softmaxAlong: [false, true].map((caps) => byRows(ALONG_ROWS, (rows) => softmaxAlong(m, rows, caps))),
    weighted: {
      F32: byRows(WEIGHTED_ROWS, (rows) => weighted(m, rows, "F32")),
      F16: byRows(WEIGHTED_ROWS, (rows) => weighted(m, rows, "F16")),
    },
    join: routine(() => join(m)),
    logSums: routine(() => logSums(m)),
    rescale: routine(() => rescale(m, false)),
    divide: routine(() => rescale(m, true)),
    rows: [...ROW_KERNELS.values()].map((kernel) => routine(() => rowKernel(m, kernel))),
    slopes: {
      queries: byCap((caps) => slopes(m, "queries", caps)),
      keys: byCap((caps) => slopes(m, "keys", caps)),
    },
  };
  return {
    count: writers.length,
    write(number) {
      writers[number]?.();
      return m.finish();
    },
    routines,
    panelCols: panelCols(m),
    tileRows: m.tile.rows,
    wholeRows: m.wholeRows,
    fewCols: m.squares * m.lanes,
    fewRows: m.fewRows,
    along: addLanes !== undefined,
  };
}
