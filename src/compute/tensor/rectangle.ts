import type { Tensor } from "./tensor.ts";

/** Some rows and columns of a matrix. */
export interface Rectangle {
  readonly row: number;
  readonly col: number;
  readonly rows: number;
  readonly cols: number;
}

/**
 * What a view covers of its buffer, looked at as rows of `pitch` elements; columns in whole vectors of 4, so that the
 * padding belongs to the last one.
 * @throws Error when the view has rows of another pitch
 */
export function rectangleOf({ shape, offset, pitch, buffer }: Tensor, ofPitch: number): Rectangle {
  const [rows, cols] = shape;
  const [row, col] = [Math.floor(offset / ofPitch), offset % ofPitch];
  if ((rows > 1 && pitch !== ofPitch) || col + cols > ofPitch) {
    throw new Error(`${buffer.label}: a view in rows of ${pitch} of a matrix in rows of ${ofPitch}`);
  }
  return { row, col, rows, cols: Math.ceil(cols / 4) * 4 };
}

/** These rows and columns of a tensor whose own first element is at (0, 0). */
export function viewOf(tensor: Tensor, { row, col, rows, cols }: Rectangle, pitch: number): Tensor {
  return { ...tensor, shape: [rows, cols], offset: tensor.offset + row * pitch + col, pitch };
}

/** What two rectangles share; undefined: nothing. */
export function intersection(a: Rectangle, b: Rectangle): Rectangle | undefined {
  const row = Math.max(a.row, b.row);
  const col = Math.max(a.col, b.col);
  const rows = Math.min(a.row + a.rows, b.row + b.rows) - row;
  const cols = Math.min(a.col + a.cols, b.col + b.cols) - col;
  return rows > 0 && cols > 0 ? { row, col, rows, cols } : undefined;
}

/** Disjoint rectangles that together are `whole` without all of `parts`. */
export function without(whole: Rectangle, parts: readonly Rectangle[]): Rectangle[] {
  return parts.reduce((rest, part) => rest.flatMap((piece) => difference(piece, part)), [whole]);
}

/** `whole` without `part`: what is above it, below it, and beside it. */
function difference(whole: Rectangle, part: Rectangle): Rectangle[] {
  const hole = intersection(whole, part);
  if (hole === undefined) return [whole];
  const { row, col, rows, cols } = whole;
  const below = hole.row + hole.rows;
  const right = hole.col + hole.cols;
  const pieces = [
    { row, col, rows: hole.row - row, cols },
    { row: below, col, rows: row + rows - below, cols },
    { ...hole, col, cols: hole.col - col },
    { ...hole, col: right, cols: col + cols - right },
  ];
  return pieces.filter((piece) => piece.rows > 0 && piece.cols > 0);
}
