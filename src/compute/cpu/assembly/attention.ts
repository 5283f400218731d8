// Grouped-query attention with an online softmax: no matrix of tokens × positions exists. A pair is a token and a head;
// its keys enter its state in chunks of 256, counted from the first key of its text, so that what it comes to depends
// neither on the pairs beside it, nor on where in a cache the text stands, nor on who computes which chunk. This is the plain
// form: where there is no machine code it runs, and machine code is compared with it.
import { log1 } from "./math";
import { Attention } from "./parameters";
import { rowSums } from "./row";
import { loadRows } from "./runs";
import { begin, CHUNK, enter, softmax, weighed } from "./softmax";
import { F16, F32, Format, is, Q8_0, storedBytes } from "./stored";

// What stands where in the scratch: scores of a chunk, what they come to, what all chunks so far came to.
const RECORD: usize = 1088;
const STATE: usize = RECORD + 2112;
/** Rows of a chunk that lie in blocks, as numbers. */
const NUMBERS: usize = 0x10000;

/** The first key of a token's text: chunks count from there. */
// @ts-ignore: decorator
@inline
function baseOf(p: Attention, token: u32): u32 {
  return p.firsts ? load<u32>(p.firsts + token * 4) : 0;
}

/** The last key that a token sees. */
// @ts-ignore: decorator
@inline
function lastOf(p: Attention, token: u32): u32 {
  return p.lasts ? load<u32>(p.lasts + token * 4) : p.firstPosition + token;
}

/** The first key that it sees. */
// @ts-ignore: decorator
@inline
function firstOf(p: Attention, token: u32): u32 {
  const next = lastOf(p, token) + 1;
  return max(baseOf(p, token), next > p.window ? next - p.window : 0);
}

export function attention(p: Attention, piece: u32, scratch: usize): void {
  const part = piece % p.parts;
  let rest = piece / p.parts;
  const headBlock = rest % p.headBlocks;
  rest /= p.headBlocks;
  const kvHead = rest % p.kvHeads;
  // The last tokens see the most keys: they come first, in whole blocks.
  const end = p.tokens - (rest / p.kvHeads) * p.pieceTokens;
  const firstHead = headBlock * p.pieceHeads;
  const endHead = min(firstHead + p.pieceHeads, p.group);
  for (let token = end > p.pieceTokens ? end - p.pieceTokens : 0; token < end; token++) {
    for (let head = kvHead * p.group + firstHead; head < kvHead * p.group + endHead; head++) {
      if (p.dtype == Format.F32) attend<F32>(p, token, kvHead, head, part, scratch);
      else if (p.dtype == Format.F16) attend<F16>(p, token, kvHead, head, part, scratch);
      else attend<Q8_0>(p, token, kvHead, head, part, scratch);
    }
  }
  if (p.parts == 1) return;
  // Whoever computes the last of all chunks brings them together, in their order.
  const computed = changetype<usize>(p) + offsetof<Attention>("computed");
  if (atomic.add<u32>(computed, 1) + 1 < p.pieces) return;
  for (let pair: u32 = 0; pair < p.tokens * p.heads; pair++) bringTogether(p, pair, scratch);
}

/** A pair and the chunks of its keys: all, or those of a part. */
function attend<T>(p: Attention, token: u32, kvHead: u32, head: u32, part: u32, scratch: usize): void {
  const base = baseOf(p, token);
  const first = firstOf(p, token) - base;
  const behind = lastOf(p, token) + 1 - base;
  const q = p.q + token * p.qPitch + head * p.head * 4;
  const state = scratch + STATE;
  begin(state, p.recordBytes);
  for (let number = first / CHUNK; number * CHUNK < behind; number++) {
    if (number % p.parts != part) continue;
    const low = max(first, number * CHUNK) - number * CHUNK;
    const high = min(behind - number * CHUNK, CHUNK);
    const start = base + number * CHUNK;
    const from = low & ~3;
    const scores = scratch + from * 4;
    const keys = p.keys + (start + from) * p.keysPitch;
    const place = storedBytes<T>(kvHead * p.head);
    if (is<T, Q8_0>()) {
      numbers(p, keys, p.keysPitch, high - from, kvHead, scratch + NUMBERS);
      rowSums<F32>(q, scratch + NUMBERS, p.head * 4, high - from, p.head / 4, scores);
    } else rowSums<T>(q, keys + place, p.keysPitch, high - from, p.head / 4, scores);
    const record = p.parts == 1 ? scratch + RECORD : p.records + ((token * p.heads + head) * p.chunks + number) * p.recordBytes;
    softmax(scratch, low, high, p.scale, p.cap, record);
    const values = p.values + (start + low) * p.valuesPitch;
    if (is<T, Q8_0>()) {
      numbers(p, values, p.valuesPitch, high - low, kvHead, scratch + NUMBERS);
      weighed<F32>(scratch + low * 4, scratch + NUMBERS, p.head * 4, high - low, p.head, record + 16);
    } else weighed<T>(scratch + low * 4, values + place, p.valuesPitch, high - low, p.head, record + 16);
    if (p.parts == 1) enter(state, record, p.head);
  }
  if (p.parts == 1) finish(p, token, head, state);
}

/** A kv head of rows in blocks, whose scales follow on all of theirs. */
function numbers(p: Attention, rows: usize, pitch: usize, count: u32, kvHead: u32, to: usize): void {
  loadRows(Format.Q8_0, rows, pitch, rows + p.kvHeads * p.head, pitch, count, kvHead * p.head, p.head, to, p.head * 4);
}

/** Brings together what the chunks of a pair came to. */
function bringTogether(p: Attention, pair: u32, scratch: usize): void {
  const token = pair / p.heads;
  const base = baseOf(p, token);
  const last = (lastOf(p, token) - base) / CHUNK;
  begin(scratch, p.recordBytes);
  for (let number = (firstOf(p, token) - base) / CHUNK; number <= last; number++) {
    enter(scratch, p.records + (pair * p.chunks + number) * p.recordBytes, p.head);
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
