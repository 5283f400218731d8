// Rows by token: of tables of embeddings, and by index.
import { MOST_TERMS } from "./lanes";
import { Embedding, EmbeddingLinks, EmbeddingSums, Rows } from "./parameters";
import { loadRow } from "./runs";

/** No token. */
const NONE: u32 = 0xffffffff;

export function embedding(p: Embedding, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.rows);
  const scale = f32x4.splat(p.scale);
  for (let row = piece * p.pieceRows; row < last; row++) {
    const id = load<u32>(p.ids + row * 4);
    if (id >= p.vocabulary) continue;
    const y = p.y + row * p.yPitch;
    loadRow(p.tableDtype, p.table + id * p.tablePitch, p.tableScales + id * p.tableScalesPitch, 0, p.width * 4, y);
    for (let to = y; to < y + p.width * 16; to += 16) v128.store(to, f32x4.mul(scale, v128.load(to)));
  }
}

/** Links the positions of each id, in one piece. */
export function embeddingLinks(p: EmbeddingLinks, piece: u32, scratch: usize): void {
  for (let t: u32 = 0; t < p.tokens; t++) {
    const id = load<u32>(p.ids + t * 4);
    if (id < p.vocabulary) store<u32>(p.heads + id * 4, NONE);
  }
  for (let t: u32 = p.tokens; t-- > 0; ) {
    const id = load<u32>(p.ids + t * 4);
    if (id >= p.vocabulary) continue;
    store<u32>(p.links + t * 4, load<u32>(p.heads + id * 4));
    store<u32>(p.heads + id * 4, t);
  }
}

/** Adds up the gradients of each id at its first position, in ascending order of positions. */
export function embeddingSums(p: EmbeddingSums, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceTokens, p.tokens);
  const scale = f32x4.splat(p.scale);
  const links = p.links;
  const pitch = p.dyPitch;
  for (let first = piece * p.pieceTokens; first < last; first++) {
    const id = load<u32>(p.ids + first * 4);
    if (id >= p.vocabulary || load<u32>(p.heads + id * 4) != first) continue;
    const to = p.dtable + id * p.dtablePitch;
    for (let at: usize = 0; at < p.width * 16; at += 16) {
      const dy = p.dy + at;
      let total = f32x4.splat(0);
      let t = first;
      while (t != NONE) {
        let sum = f32x4.splat(0);
        for (let terms: u32 = 0; terms < MOST_TERMS && t != NONE; terms++) {
          sum = f32x4.add(sum, v128.load(dy + t * pitch));
          t = load<u32>(links + t * 4);
        }
        total = f32x4.add(total, sum);
      }
      v128.store(to + at, f32x4.add(v128.load(to + at), f32x4.mul(scale, total)));
    }
  }
}

export function rows(p: Rows, piece: u32, scratch: usize): void {
  const last = min((piece + 1) * p.pieceRows, p.count);
  for (let row = piece * p.pieceRows; row < last; row++) {
    const index = load<u32>(p.indices + row * 4);
    if (index >= p.rows) continue;
    const from = p.scatter ? row : index;
    const to = p.scatter ? index : row;
    memory.copy(p.y + to * p.yPitch, p.x + from * p.xPitch, p.width * 16);
  }
}
