/** A straight piece of a contour line, in places of the grid: whole numbers are its points. */
export type Segment = readonly [from: readonly [x: number, y: number], to: readonly [x: number, y: number]];

/** Which edges of a cell a line joins, by its corners above the level (1: lower left, 2: lower right, 4: upper right, 8). */
const JOINED: readonly (readonly (readonly [Edge, Edge])[])[] = [
  [],
  [["left", "bottom"]],
  [["bottom", "right"]],
  [["left", "right"]],
  [["right", "top"]],
  [], // a saddle
  [["bottom", "top"]],
  [["left", "top"]],
  [["left", "top"]],
  [["bottom", "top"]],
  [], // a saddle
  [["right", "top"]],
  [["left", "right"]],
  [["bottom", "right"]],
  [["left", "bottom"]],
  [],
];
type Edge = "left" | "bottom" | "right" | "top";

/**
 * The line along which a function on a grid has a level: marching squares (Lorensen and Cline, SIGGRAPH 1987, in two
 * dimensions), straight between the edges of cells, where values are interpolated linearly. Of a saddle the mean of the
 * corners says which of them belong together.
 * @param rows values by y, then x; finite, all rows equally long
 */
export function contour(rows: readonly (readonly number[])[], level: number): Segment[] {
  const at = (x: number, y: number) => rows[y]?.[x] ?? NaN;
  const segments: Segment[] = [];
  for (let y = 0; y + 1 < rows.length; y++) {
    for (let x = 0; x + 1 < (rows[y]?.length ?? 0); x++) {
      const corners = [at(x, y), at(x + 1, y), at(x + 1, y + 1), at(x, y + 1)] as const;
      const [a, b, c, d] = corners;
      const kind = corners.reduce((sum, value, bit) => sum + (value > level ? 1 << bit : 0), 0);
      const between = (from: number, to: number) => (level - from) / (to - from);
      const place = {
        bottom: () => [x + between(a, b), y] as const,
        right: () => [x + 1, y + between(b, c)] as const,
        top: () => [x + between(d, c), y + 1] as const,
        left: () => [x, y + between(a, d)] as const,
      };
      const isSaddle = kind === 5 || kind === 10;
      const pairs = isSaddle ? saddle((a + b + c + d) / 4 > level, kind) : (JOINED[kind] ?? []);
      for (const [from, to] of pairs) segments.push([place[from](), place[to]()]);
    }
  }
  return segments;
}

/** Two opposite corners are above the level; with a high middle they are one hill, and lines cut the low corners off. */
function saddle(highMiddle: boolean, kind: number): readonly (readonly [Edge, Edge])[] {
  const cutsLowerRight = (kind === 5) === highMiddle;
  return cutsLowerRight
    ? [
        ["bottom", "right"],
        ["left", "top"],
      ]
    : [
        ["left", "bottom"],
        ["right", "top"],
      ];
}
