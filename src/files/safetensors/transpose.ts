/** Rows and columns that are walked together, so that both matrices stay in the caches. */
const TILE = 32;

/** The bytes of matrices (rows, cols), one behind the other, of elements of 2, 4 or 8 bytes, as those of their transposes. */
export function transpose(
  bytes: Uint8Array<ArrayBuffer>,
  rows: number,
  cols: number,
  elementBytes: number,
): Uint8Array<ArrayBuffer> {
  const count = bytes.length / elementBytes;
  if (count > 0 && count % (rows * cols) !== 0) throw new RangeError(`${bytes.length} bytes of ${rows} × ${cols}`);
  const { buffer, byteOffset } = bytes.byteOffset % elementBytes === 0 ? bytes : bytes.slice();
  const to = new ArrayBuffer(bytes.length);
  // Read as integers, NaNs keep their bits.
  if (elementBytes === 2) turn(new Uint16Array(buffer, byteOffset, count), new Uint16Array(to), rows, cols);
  else if (elementBytes === 4) turn(new Uint32Array(buffer, byteOffset, count), new Uint32Array(to), rows, cols);
  else turn(new BigUint64Array(buffer, byteOffset, count), new BigUint64Array(to), rows, cols);
  return new Uint8Array(to);
}

function turn<T>(from: ArrayLike<T>, to: { [at: number]: T }, rows: number, cols: number): void {
  for (let first = 0; first < from.length; first += rows * cols) turnOne(from, to, first, rows, cols);
}

function turnOne<T>(from: ArrayLike<T>, to: { [at: number]: T }, first: number, rows: number, cols: number): void {
  for (let top = 0; top < rows; top += TILE) {
    for (let left = 0; left < cols; left += TILE) {
      for (let row = top; row < Math.min(top + TILE, rows); row++) {
        for (let col = left; col < Math.min(left + TILE, cols); col++) {
          const value = from[first + row * cols + col];
          if (value !== undefined) to[first + col * rows + row] = value;
        }
      }
    }
  }
}
