// Where the weights of a module of a checkpoint are in a GGUF file.
import type { Norm } from "../blocks/norm.ts";
import type { PlannedMatrix } from "../tensor-plan.ts";

/** Rows of a tensor of a checkpoint that lie together in one of a GGUF file, which has the rows of others, too. */
export interface Strip {
  readonly name: string;
  /** Of the file's whole tensor, outermost first. */
  readonly shape: readonly number[];
  /** Rows before it there, and its own: elements, where the tensor has one axis. */
  readonly first: number;
  readonly rows: number;
}

/** What is done to each number of a tensor, and back. */
export interface Numbers {
  readonly to: (x: number) => number;
  readonly from: (x: number) => number;
}

/** Where a module of a checkpoint, or a tensor of it, goes, and what is done to its elements. */
export interface GgufPlace {
  readonly name: string;
  /** What stands behind the module's name in the tensor's; `.weight` by default. */
  readonly suffix?: string;
  /** One after another, what a file has in several tensors, or with others; undefined: the tensor is one there as well. */
  readonly strips?: readonly Strip[] | undefined;
  /** Matrices that are never rounded. */
  readonly exact?: boolean;
  /** A matrix that the checkpoint stores transposed, and the file does not. */
  readonly transposed?: boolean;
  readonly order?: Order;
  readonly numbers?: Numbers;
}

export type Named = [module: string, place: GgufPlace];

/** Gemma's norms, and others, store their weights without an offset, and a file has them with it. */
export function normNamed(norm: Norm<PlannedMatrix> | undefined, name: string): Named[] {
  const offset = norm?.kind === "rms" ? norm.offset : 0;
  const numbers = { to: (x: number) => x + offset, from: (x: number) => x - offset };
  return named(norm?.weight, [name], offset === 0 ? {} : { numbers });
}

/** @param place what holds of all of its tensors */
export function named(
  matrix: PlannedMatrix | undefined,
  names: readonly string[],
  place: Partial<GgufPlace> = {},
): Named[] {
  const turned = matrix?.transposed === true ? { transposed: true } : {};
  return (matrix?.parts ?? []).map((part, at): Named => {
    return [part.name.replace(/\.weight$/, ""), { ...place, name: names[at] ?? "", ...turned }];
  });
}

/** Units that stand in another order in a GGUF file than in a checkpoint: unit `i` of a group is unit `places[i]` there. */
export interface Order {
  readonly places: readonly number[];
  /** A unit is a row, or one of so many equal parts of a row. */
  readonly of: "rows" | "parts";
}

/** Rows of a head of q or k in llama.cpp's `llama`: `W.reshape(heads, 2, size / 2, −1).swapaxes(1, 2)`. */
export function pairedRows(headSize: number): Order {
  const half = headSize / 2;
  const places = Array.from({ length: headSize }, (_, row) => (row % half) * 2 + Math.floor(row / half));
  return { places, of: "rows" };
}

/** Heads of values, which a checkpoint has by the head of keys that they share: llama.cpp has the first of each, then the second. */
export function headPlaces(keyHeads: number, heads: number): number[] {
  const shared = heads / keyHeads;
  return Array.from({ length: heads }, (_, head) => (head % shared) * keyHeads + Math.floor(head / shared));
}

let turns: readonly number[] = [];

/** Pairs of units, one of each of two halves: llama.cpp has one half behind the other. All experts of a model share one list. */
export function inTurns(half: number): readonly number[] {
  if (turns.length !== 2 * half) {
    turns = Array.from({ length: 2 * half }, (_, unit) => (unit % 2) * half + Math.floor(unit / 2));
  }
  return turns;
}

/** Rows that are reordered together. */
export function rowsOf(order: Order | undefined): number {
  return order?.of === "rows" ? order.places.length : 1;
}

/** Whole groups in llama.cpp's order; `back`: from it. */
export function reorder(
  bytes: Uint8Array,
  { places, of }: Order,
  rowBytes: number,
  back = false,
): Uint8Array<ArrayBuffer> {
  const size = of === "rows" ? rowBytes : rowBytes / places.length;
  const out = new Uint8Array(bytes.length);
  for (let group = 0; group < bytes.length; group += size * places.length) {
    for (const [unit, place] of places.entries()) {
      const [from, to] = back ? [place, unit] : [unit, place];
      out.set(bytes.subarray(group + from * size, group + (from + 1) * size), group + to * size);
    }
  }
  return out;
}
