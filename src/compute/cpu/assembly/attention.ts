// Grouped-query attention with an online softmax: no matrix of tokens × positions exists. A pair is a token and a head;
// its keys enter its state in chunks of 256, counted from the first key of its text, so that what it comes to depends
// neither on the pairs beside it, nor on where in a cache the text stands, nor on who computes which chunk.
import { Attention, baseOf, Chunk, firstOf, lastOf, packChunk, RECORDS, recordTile, STATES } from "./attention-chunk";
import { log1 } from "./math";
import { TILE_ROWS } from "./panels";
import { begin, CHUNK, enter } from "./softmax";

export function attention(p: Attention, piece: u32, scratch: usize): void {
  const part = piece % p.parts;
  let rest = piece / p.parts;
  const headBlock = rest % p.headBlocks;
  rest /= p.headBlocks;
  const kvHead = rest % p.kvHeads;
  // The last tokens see the most keys: they come first.
  const block = p.blocks - 1 - rest / p.kvHeads;
  const firstHead = headBlock * p.pieceHeads;
  const end = min((block + 1) * p.pieceTokens, p.tokens);
  const chunk = changetype<Chunk>(scratch);
  chunk.kvHead = kvHead;
  chunk.firstHead = kvHead * p.group + firstHead;
  chunk.heads = min(p.pieceHeads, p.group - firstHead);
  let token = block * p.pieceTokens;
  while (token < end) {
    // Tokens of one text.
    let next = token + 1;
    while (next < end && baseOf(p, next) == baseOf(p, token)) next++;
    chunk.token = token;
    chunk.pairs = (next - token) * chunk.heads;
    attend(p, chunk, next, part, scratch);
    token = next;
  }
  if (p.parts == 1) return;
  // Whoever computes the last of all chunks brings them together, in their order.
  const computed = changetype<usize>(p) + offsetof<Attention>("computed");
  if (atomic.add<u32>(computed, 1) + 1 < p.pieces) return;
  for (let pair: u32 = 0; pair < p.tokens * p.heads; pair++) bringTogether(p, pair, scratch);
}

/** Some tokens of one text, up to one before `behind`. */
function attend(p: Attention, chunk: Chunk, behind: u32, part: u32, scratch: usize): void {
  const base = baseOf(p, chunk.token);
  let first: u32 = 0xffffffff;
  let end: u32 = 0;
  for (let token = chunk.token; token < behind; token++) {
    first = min(first, firstOf(p, token));
    end = max(end, lastOf(p, token) + 1);
  }
  let number = (first - base) / CHUNK;
  let last = (end - 1 - base) / CHUNK;
  if (p.parts > 1) {
    if (part < number || part > last) return;
    number = part;
    last = part;
  }
  const states = scratch + STATES;
  for (let pair: u32 = 0; pair < chunk.pairs; pair++) begin(states + pair * p.recordBytes, p.recordBytes);
  for (; number <= last; number++) {
    chunk.start = base + number * CHUNK;
    chunk.from = (max(first, chunk.start) - chunk.start) & ~3;
    chunk.to = min(end - chunk.start, CHUNK);
    packChunk(p, chunk, scratch);
    for (let pair: u32 = 0; pair < chunk.pairs; pair += TILE_ROWS) {
      const count = min(TILE_ROWS, chunk.pairs - pair);
      recordTile(p, chunk, pair, count, scratch);
      for (let i: u32 = 0; i < count; i++) {
        const token = chunk.token + (pair + i) / chunk.heads;
        if (firstOf(p, token) >= chunk.start + CHUNK || lastOf(p, token) < chunk.start) continue;
        const record = scratch + RECORDS + i * p.recordBytes;
        if (p.parts == 1) enter(states + (pair + i) * p.recordBytes, record, p.head);
        else {
          const place = (token * p.heads + chunk.firstHead + ((pair + i) % chunk.heads)) * p.parts + number;
          memory.copy(p.records + place * p.recordBytes, record, p.recordBytes);
        }
      }
    }
  }
  if (p.parts > 1) return;
  for (let pair: u32 = 0; pair < chunk.pairs; pair++) {
    const head = chunk.firstHead + (pair % chunk.heads);
    finish(p, chunk.token + pair / chunk.heads, head, states + pair * p.recordBytes);
  }
}

/** Brings together what the chunks of a pair came to. */
function bringTogether(p: Attention, pair: u32, scratch: usize): void {
  const token = pair / p.heads;
  const base = baseOf(p, token);
  const last = (lastOf(p, token) - base) / CHUNK;
  begin(scratch, p.recordBytes);
  for (let number = (firstOf(p, token) - base) / CHUNK; number <= last; number++) {
    enter(scratch, p.records + (pair * p.parts + number) * p.recordBytes, p.head);
  }
  finish(p, token, pair % p.heads, scratch);
}

/** Stores a pair's result. */
function finish(p: Attention, token: u32, head: u32, state: usize): void {
  const sum = f32x4.splat(load<f32>(state, 4));
  const y = p.y + token * p.yPitch + head * p.head * 4;
  for (let at: usize = 0; at < p.head * 4; at += 16) {
    v128.store(y + at, f32x4.div(v128.load(state + 16 + at), sum));
  }
  if (!p.lse) return;
  const row = p.lse + token * p.lsePitch;
  store<f32>(row + head * 4, load<f32>(state) + log1(load<f32>(state, 4)));
  // What is behind the last one stays zero.
  for (let pad = head + 1; pad >= p.heads && (pad & 3) != 0; pad++) store<f32>(row + pad * 4, 0);
}
