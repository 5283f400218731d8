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
