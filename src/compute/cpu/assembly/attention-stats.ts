// What the gradients of attention need of each token beside its rows.
import { sumOf } from "./lanes";
import { AttentionStats } from "./parameters";

/** No token's first key. */
const NEVER_SEEN: u32 = 0x7fffffff;

/** What the two sides need of each token: the keys that it sees, and of each head two numbers. */
export function attentionStats(p: AttentionStats, piece: u32, scratch: usize): void {
  const end = min((piece + 1) * p.pieceRows, p.tokens);
  const pitch = p.statsPitch;
  for (let token = piece * p.pieceRows; token < end; token++) {
    const last = p.lasts ? load<u32>(p.lasts + token * 4) : p.firstPosition + token;
    const first = last + 1 > p.window ? last + 1 - p.window : 0;
    const at = p.stats + token * 4;
    store<u32>(at, p.firsts ? max(first, load<u32>(p.firsts + token * 4)) : first);
    store<u32>(at + pitch, last);
    for (let head: u32 = 0; head < p.heads; head++) {
      let sum = f32x4.splat(0);
      const y = p.y + token * p.yPitch + head * p.head * 4;
      const dy = p.dy + token * p.dyPitch + head * p.head * 4;
      for (let d: usize = 0; d < p.head * 4; d += 16) {
        sum = f32x4.add(sum, f32x4.mul(v128.load(y + d), v128.load(dy + d)));
      }
      const bySum = p.dlse ? load<f32>(p.dlse + token * p.dlsePitch + head * 4) : 0;
      store<f32>(at + (2 + 2 * head) * pitch, load<f32>(p.lse + token * p.lsePitch + head * 4));
      store<f32>(at + (3 + 2 * head) * pitch, sumOf(sum) - bySum);
    }
  }
  // Nobody stands behind the last token.
  if (end == p.tokens) {
    for (let pad = end; (pad & 3) != 0; pad++) {
      store<u32>(p.stats + pad * 4, NEVER_SEEN);
      store<u32>(p.stats + pad * 4 + pitch, 0);
    }
  }
}
