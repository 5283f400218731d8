import type { Run } from "../../compute/tensor/run.ts";
import { sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";

// Pairs of a token and one of its experts, in an order that follows from their number alone: token by token where (tokens, chosen)
// lie without gaps, else a column of them behind the other.

/** Records the rows of `x` at these places (tokens, chosen), pair by pair: (tokens · chosen, cols). */
export function takePairs(run: Run, x: Tensor, places: Tensor): Tensor {
  const y = run.allocate("rows of pairs", [places.shape[0] * places.shape[1], x.shape[1]]);
  for (const { first, places: own } of inLine(places)) {
    const to = sliceRows(y, first, own.shape[0]);
    run.compute("mixRows", { x, places: own, factors: undefined, residual: undefined, scale: 1, y: to });
  }
  return y;
}

/** Records rows of pairs into the rows of `y` at these places; the others stay as they are. */
export function putPairs(run: Run, x: Tensor, places: Tensor, y: Tensor): void {
  for (const { first, places: own } of inLine(places)) {
    const from = sliceRows(x, first, own.shape[0]);
    run.compute("spreadRows", { x: from, places: own, factors: undefined, scale: 1, y });
  }
}

/** Places as columns of one place each, and the pair that each column begins with. */
function inLine(places: Tensor): { readonly first: number; readonly places: Tensor }[] {
  const [tokens, chosen] = places.shape;
  if (places.pitch === chosen) return [{ first: 0, places: { ...places, shape: [tokens * chosen, 1], pitch: 1 } }];
  return Array.from({ length: chosen }, (_, at) => {
    return { first: at * tokens, places: { ...places, shape: [tokens, 1], offset: places.offset + at } };
  });
}
