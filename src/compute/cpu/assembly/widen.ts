import { Widen } from "./parameters";
import { loadRow } from "./runs";

export function widen(p: Widen, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  for (let row = piece * p.pieceRows; row < last; row++) {
    loadRow(p.xDtype, p.x + row * p.xPitch, p.xScales + row * p.xScalesPitch, 0, p.vectors * 4, p.y + row * p.yPitch);
  }
}
