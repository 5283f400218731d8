import type { PlaneReport } from "./report.ts";
import { CORNERS } from "./plane.ts";
import { type PlaneFile, rowsOf } from "./plane-file.ts";

/**
 * The losses of the corners, and of every point row by row; NaN where one overflowed.
 * @param lossAt the loss at a place
 * @param file where points are kept; those that it has are not measured again
 * @param onRow told the number of each row before it, from 0
 * @throws what `lossAt` and `file` throw; the file then has what was measured
 */
export async function measurePlane(
  lossAt: (x: number, y: number) => Promise<number>,
  { x, y }: Pick<PlaneReport, "x" | "y">,
  file: PlaneFile | undefined,
  onRow: (row: number) => void,
): Promise<Pick<PlaneReport, "loss" | "corners">> {
  const measure = async (placeX: number, placeY: number) => {
    const loss = await lossAt(placeX, placeY);
    return Number.isFinite(loss) ? loss : NaN;
  };
  const [a, b, c] = CORNERS;
  const corners = [await measure(...a), await measure(...b), await measure(...c)] as const;
  file?.setCorners(corners);
  const losses = [...(file?.losses ?? [])];
  try {
    for (const [row, placeY] of y.entries()) {
      onRow(row);
      for (const placeX of x.slice(Math.max(0, losses.length - row * x.length))) {
        const loss = await measure(placeX, placeY);
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
