// Columns of groups, sorted by part.
import { Regroup } from "./parameters";

export function regroup(p: Regroup, piece: u32, scratch: usize): void {
  const end = min((piece + 1) * p.pieceRows, p.rows);
  const width = p.size0 + p.size1 + p.size2 + p.size3;
  const others = p.cols - p.groups * width;
  for (let row = piece * p.pieceRows; row < end; row++) {
    const x = p.x + row * p.xPitch;
    const y = p.y + row * p.yPitch;
    let sorted: u32 = 0;
    let begin: u32 = 0;
    for (let part: u32 = 0; part < 4; part++) {
      const size = part == 0 ? p.size0 : part == 1 ? p.size1 : part == 2 ? p.size2 : p.size3;
      for (let group: u32 = 0; group < p.groups; group++) {
        move(p, x, y, sorted, group * width + begin, size);
        sorted += size;
        for (; p.padded && sorted & 3; sorted++) if (!p.inverse) store<f32>(y + sorted * 4, 0);
      }
      begin += size;
      // What belongs to no group follows the first part.
      if (part > 0) continue;
      move(p, x, y, sorted, p.groups * width, others);
      sorted += others;
    }
    for (let at = p.inverse ? p.cols : sorted; at & 3; at++) store<f32>(y + at * 4, 0);
  }
}

// @ts-ignore: decorator
@inline
function move(p: Regroup, x: usize, y: usize, sorted: u32, grouped: u32, count: u32): void {
  const from = x + (p.inverse ? sorted : grouped) * 4;
  const to = y + (p.inverse ? grouped : sorted) * 4;
  for (let at: usize = 0; at < count * 4; at += 4) store<f32>(to + at, load<f32>(from + at));
}
