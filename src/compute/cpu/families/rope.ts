import type { CacheFilling, Rope, RopeGradient } from "../../device/families/attention.ts";
import { sliceCols, type Tensor } from "../../device/tensor.ts";
import { kvDtype } from "../../device/weight.ts";
import type { Dispatcher } from "../dispatcher.ts";
import { cpuKernel } from "../parameters.ts";
import { rowPieces } from "../pieces.ts";
import { KV_CODES } from "./attended.ts";

/** Heads of q and k are normalized, turn by their row's angles, and v is copied; of what is left out the width is 0. */
export const ROPE = cpuKernel("rope", {
  rows: "u32",
  /** Elements of a head, and of half of its rotated part. */
  head: "u32",
  half: "u32",
  cos: "matrix",
  sin: "matrix",
  q: "matrix",
  k: "matrix",
  v: "matrix",
  qTo: "target",
  kTo: "target",
  vTo: "target",
  /** Elements in a row of q, of k, of v. */
  qWidth: "u32",
  kWidth: "u32",
  vWidth: "u32",
  /** 1, or −1 for turning back. */
  direction: "f32",
  /** Of the norms of heads of q and k, or nothing: none. */
  qWeight: "row",
  kWeight: "row",
  offset: "f32",
  epsilon: "f32",
  /** Rows of kTo and vTo, and which of them each row goes to; nothing: that of its own number. */
  targetRows: "u32",
  targets: "row",
  /** Of kTo and vTo. */
  dtype: "u32",
  /** Elements turn with their neighbors. */
  neighbors: "flag",
  pieceRows: "u32",
});

/** What turns, or is copied, and where to; undefined: that one is not wanted. */
interface Way {
  readonly from: Tensor;
  readonly to: Tensor;
}

type Ways = Readonly<Record<"q" | "k" | "v", Way | undefined>>;

export function rope(on: Dispatcher, { from, to, ...angles }: Rope): void {
  const way = (name: "q" | "k" | "v") => {
    const [read, written] = [from[name], to[name]];
    return read && written && { from: read, to: written };
  };
  turn(on, angles, { q: way("q"), k: way("k"), v: way("v") }, 1);
}

export function fillCache(on: Dispatcher, { qkv, keys, values, norms, rows, ...angles }: CacheFilling): void {
  const kvWidth = keys.shape[1];
  const width = qkv.shape[1] - 2 * kvWidth;
  const part = (first: number, count: number) => sliceCols(qkv, first, count);
  const q = part(0, width);
  const ways = {
    q: { from: q, to: q },
    k: { from: part(width, kvWidth), to: keys },
    v: { from: part(width + kvWidth, kvWidth), to: values },
  };
  turn(on, angles, ways, 1, { norms, rows });
}

export function ropeGradient(on: Dispatcher, { parts, ...angles }: RopeGradient): void {
  const way = (wanted: "q" | "k" | "v") => {
    const part = parts.find(({ name }) => name === wanted);
    return part && { from: part.gradient, to: part.target };
  };
  turn(on, angles, { q: way("q"), k: way("k"), v: way("v") }, -1);
}

function turn(
  on: Dispatcher,
  { headSize, neighbors, cos, sin }: Pick<Rope, "headSize" | "neighbors" | "cos" | "sin">,
  { q, k, v }: Ways,
  direction: 1 | -1,
  { norms, rows: targets }: Partial<Pick<CacheFilling, "norms" | "rows">> = {},
): void {
  const [rows] = cos.shape;
  const [qWidth, kWidth, vWidth] = [q, k, v].map((way) => way?.from.shape[1] ?? 0) as [number, number, number];
  const { pieceRows, count } = rowPieces(rows, qWidth + kWidth + vWidth);
  on.dispatch(
    ROPE,
    {
      rows,
      head: headSize,
      half: cos.shape[1],
      cos,
      sin,
      q: q?.from,
      k: k?.from,
      v: v?.from,
      qTo: q?.to,
      kTo: k?.to,
      vTo: v?.to,
      qWidth,
      kWidth,
      vWidth,
      direction,
      qWeight: norms?.q,
      kWeight: norms?.k,
      offset: norms?.offset ?? 0,
      epsilon: norms?.epsilon ?? 0,
      targetRows: k?.to.shape[0] ?? rows,
      targets,
      dtype: KV_CODES[k === undefined ? "F32" : kvDtype("filling a cache", k.to, headSize)],
      neighbors,
      pieceRows,
    },
    count,
  );
}
