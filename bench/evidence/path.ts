/** Losses on a grid: rows by y. */
interface Plane {
  readonly x: readonly number[];
  readonly y: readonly number[];
  readonly loss: readonly (readonly (number | null)[])[];
}

/** Where the corners of `analyze plane` are. */
const CORNERS = { A: [0, 0], B: [0.5, 1], C: [1, 0] } as const;
export type Corner = keyof typeof CORNERS;

const PLACES = 41;

/** The losses on the straight way from one corner to another, both included, between the grid's points by the nearest four. */
export function along({ x, y, loss }: Plane, from: Corner, to: Corner): number[] {
  const [x0 = NaN, x1 = NaN] = x;
  const [y0 = NaN, y1 = NaN] = y;
  const at = (row: number, col: number) => loss[row]?.[col] ?? Infinity;
  return Array.from({ length: PLACES }, (_, place) => {
    const share = place / (PLACES - 1);
    const [a, b] = [CORNERS[from], CORNERS[to]];
    const u = (a[0] + share * (b[0] - a[0]) - x0) / (x1 - x0);
    const v = (a[1] + share * (b[1] - a[1]) - y0) / (y1 - y0);
    const [col, row] = [Math.min(Math.floor(u), x.length - 2), Math.min(Math.floor(v), y.length - 2)];
    const [right, up] = [u - col, v - row];
    const below = (1 - right) * at(row, col) + right * at(row, col + 1);
    const above = (1 - right) * at(row + 1, col) + right * at(row + 1, col + 1);
    return (1 - up) * below + up * above;
  });
}

/** How far losses rise above the higher one of the two at the ends. */
export function barrier(losses: readonly number[]): number {
  const [first = NaN, last = NaN] = [losses[0], losses.at(-1)];
  return Math.max(...losses) - Math.max(first, last);
}
