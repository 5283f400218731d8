import { ALONE, gatherNumbers, type Processes } from "../../../mpi/processes.ts";
import type { PlaneReport } from "./report.ts";
import { CORNERS } from "./plane.ts";
import { type PlaneFile, rowsOf } from "./plane-file.ts";

/**
 * The losses of the corners, and of every point row by row; NaN where one overflowed.
 * @param lossAt the loss at a place
 * @param file where points are kept; those that it has are not measured again
 * @param onRow told the number of each row before it, from 0
 * @param processes that share the points; the first one has the file
 * @throws what `lossAt` and `file` throw; the file then has what was measured
 */
export async function measurePlane(
  lossAt: (x: number, y: number) => Promise<number>,
  { x, y }: Pick<PlaneReport, "x" | "y">,
  file: PlaneFile | undefined,
  onRow: (row: number) => void,
  processes: Processes = ALONE,
): Promise<Pick<PlaneReport, "loss" | "corners">> {
  const { rank, size } = processes;
  /** Each process measures one of so many places. */
  const measure = async (places: readonly (readonly [number, number])[]) => {
    const own = places[rank];
    const loss = own === undefined ? [] : [await lossAt(...own)];
    return (await gatherNumbers(processes, loss)).map((one) => (Number.isFinite(one) ? one : NaN));
  };
  const ofCorners: number[] = [];
  for (let at = 0; at < CORNERS.length; at += size) ofCorners.push(...(await measure(CORNERS.slice(at, at + size))));
  const [a = NaN, b = NaN, c = NaN] = ofCorners;
  const corners = [a, b, c] as const;
  file?.setCorners(corners);
  const losses = await gatherNumbers(processes, file?.losses ?? []);
  const places = y.flatMap((placeY) => x.map((placeX) => [placeX, placeY] as const));
  let shown = -1;
  try {
    while (losses.length < places.length) {
      const row = Math.floor(losses.length / x.length);
      if (row !== shown) onRow(row);
      shown = row;
      for (const loss of await measure(places.slice(losses.length, losses.length + size))) {
        losses.push(loss);
        await file?.add(loss);
      }
    }
  } finally {
    // Whatever ended it: --resume goes on from here.
    await file?.save();
  }
  await file?.finish();
  return { corners, loss: rowsOf(losses, x.length) };
}
