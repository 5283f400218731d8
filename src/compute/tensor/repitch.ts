/**
 * Rows of `from` bytes each as rows of `to` bytes: with zeros behind them, or without what was behind them. The same array
 * where nothing changes.
 */
export function repitched<T extends ArrayBufferLike>(
  bytes: Uint8Array<T>,
  rows: number,
  from: number,
  to: number,
): Uint8Array<T> | Uint8Array<ArrayBuffer> {
  if (from === to) return bytes;
  const result = new Uint8Array(rows * to);
  const kept = Math.min(from, to);
  for (let row = 0; row < rows; row++) result.set(bytes.subarray(row * from, row * from + kept), row * to);
  return result;
}
