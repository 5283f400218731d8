/**
 * Operations that a GPU gets in one submission, and in one dispatch where rows can be taken in parts. Drivers reset a GPU that
 * works on one submission for too long: Windows after 2 seconds, xe after 5, amdgpu after 10. A slow integrated GPU does
 * these in a third of a second; more of them would save nothing, as a submission takes some 0.1 ms.
 */
export const MOST_WORK = 2 ** 35;

/** Rows, in whole `unit`s, whose work fits into one dispatch; at least one unit. */
export function rowsOfWork(workPerRow: number, unit: number): number {
  return Math.max(1, Math.floor(MOST_WORK / workPerRow / unit)) * unit;
}
