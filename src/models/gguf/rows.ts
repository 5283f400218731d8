/**
 * Where row `row` of a head of q or k stands in llama.cpp's `llama`: `W.reshape(heads, 2, size / 2, −1).swapaxes(1, 2)`.
 */
export function pairedRow(row: number, headSize: number): number {
  const half = headSize / 2;
  return (row % half) * 2 + Math.floor(row / half);
}

/** Whole heads of rows in llama.cpp's order; `back`: from it. */
export function permuteRows(
  bytes: Uint8Array,
  headSize: number,
  rowBytes: number,
  back = false,
): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length);
  for (let row = 0; row * rowBytes < bytes.length; row++) {
    const paired = row - (row % headSize) + pairedRow(row % headSize, headSize);
    const [from, to] = back ? [paired, row] : [row, paired];
    out.set(bytes.subarray(from * rowBytes, (from + 1) * rowBytes), to * rowBytes);
  }
  return out;
}
