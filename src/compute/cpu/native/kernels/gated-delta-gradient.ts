// The gradients of the gated delta rule by chunks of tokens (Yang et al., arXiv:2412.06464, section 3.3), which are products of matrices.
// A chunk's tokens t add u_t k_tᵀ to a state S: with what is left at t of what was there at s, D[t, s],
//   u = β r,   r_t = v_t − g_t S k_t − Σ_{s<t} D[t, s] (k_t · k_s) u_s,   y_t = (g_t S q_t + Σ_{s≤t} D[t, s] (q_t · k_s) u_s) / √size.
// So r is what the inverse of a lower triangle makes of v − g S k, and every gradient is a product with that, with u, or with D. D is
// multiplied up token by token and never divided: where a text begins, or nothing is left, it is 0.
import { MOST_CHUNK } from "../../families/gated-delta.ts";
import type { Caller } from "../caller.ts";
import { ROW_PITCH } from "../routines/layout.ts";
import { AT, Chunks, FACTOR, PITCH, type Place } from "./delta-chunks.ts";
import { Gates } from "./delta-pairs.ts";
import { copyRows } from "./tiles.ts";

const gates = new Gates();

/** Of a head of keys, and the heads of values that it serves. */
export function gatedDeltaGradient(on: Caller, parameters: number, piece: number): void {
  const p = new Chunks(on, parameters);
  const { word, numbers, keySize, heads } = p;
  const [keyHeads, tokens, block] = [word(AT.keyHeads), word(AT.tokens), word(AT.block)];
  const served = heads / keyHeads;
  for (let token = 0; token < tokens; token++) {
    const row = (word(AT.dqk) + token * word(AT.dqkPitch)) / 4 + piece * keySize;
    numbers.fill(0, row, row + keySize);
    numbers.fill(0, row + keyHeads * keySize, row + (keyHeads + 1) * keySize);
    // What is behind the last gate stays zero.
    const end = (word(AT.dgates) + token * word(AT.dgatesPitch)) / 4 + 2 * heads;
    if (piece === 0) numbers.fill(0, end, end + ((-2 * heads) & 3));
  }
  for (let head = piece * served; head < (piece + 1) * served; head++) {
    for (let chunk = Math.ceil(tokens / block) - 1, isLast = true; chunk >= 0; chunk--) {
      const begin = chunk * block;
      const count = Math.min(block, tokens - begin);
      gates.read(p, head, begin, count);
      isLast = !chunkGradient(p, piece, head, chunk, begin, count, !isLast);
    }
  }
}

/** @returns whether there is a gradient by the state before the chunk, which is in `slope` then */
function chunkGradient(
  p: Chunks,
  keyHead: number,
  head: number,
  chunk: number,
  begin: number,
  count: number,
  hasSlope: boolean,
): boolean {
  const { on, word, numbers, keySize, valueSize, scale, slope } = p;
  const [k = 0, q = 0, dy = 0, r = 0, u = 0, du = 0, w = 0, x = 0, squares = 0, solve = 0] = p.places;
  const placed = (at: number): Place => ({ at, pitch: ROW_PITCH });
  const row = (at: number, token: number): number => at / 4 + token * PITCH;
  const each = (body: (token: number) => void): void => {
    for (let token = 0; token < count; token++) body(token);
  };
  const operand = (at: number, pitch: number, column: number): Place => ({
    at: at + begin * pitch + column * 4,
    pitch,
  });
  const query = operand(word(AT.qk), word(AT.qkPitch), keyHead * keySize);
  const behind = word(AT.keyHeads) * keySize * 4;
  const dquery = operand(word(AT.dqk), word(AT.dqkPitch), keyHead * keySize);
  const dkey = { ...dquery, at: dquery.at + behind };
  const values = operand(word(AT.v), word(AT.vPitch), head * valueSize);
  const dvalues = operand(word(AT.dv), word(AT.dvPitch), head * valueSize);
  const slopes = operand(word(AT.dy), word(AT.dyPitch), head * valueSize);
  const { beta, before, left, begins, slopes: decays } = gates;
  const hasState = chunk > 0 && before[0] !== 0;
  const column = head * valueSize * keySize * 4;
  const state = { at: word(AT.states) + (chunk - 1) * word(AT.statesPitch) + column, pitch: keySize * 4 };
  const last = count - 1;
  const leftBehind = (token: number): number => left[last * MOST_CHUNK + token] ?? 0;
  copyRows(on, query.at, query.pitch, count, keySize, q);
  copyRows(on, query.at + behind, query.pitch, count, keySize, k);
  copyRows(on, slopes.at, slopes.pitch, count, valueSize, dy);

  // Of each pair of tokens: D k · k without the diagonal, D q · k / √size, dy · u, dv · u; and the inverse.
  const square = (at: number): number => squares + at * MOST_CHUNK * 4;
  const [kk, qk, yu, vu] = [square(0), square(1), square(2), square(3)];
  p.product(k, count, keySize, placed(k), count, placed(kk), { byRows: true });
  p.product(q, count, keySize, placed(k), count, placed(qk), { byRows: true, scale });
  gates.mask(numbers, row(kk, 0), count, 0);
  gates.mask(numbers, row(qk, 0), count, 1);
  gates.invert(numbers, row(kk, 0), row(solve, 0), count);

  if (hasState) {
    p.product(k, count, keySize, state, valueSize, placed(x), { byRows: true });
    p.rescale(values, valueSize, count, placed(x), FACTOR.minusBefore, FACTOR.one);
  } else p.copy(values, valueSize, count, placed(x));
  p.product(solve, count, count, placed(x), valueSize, placed(r));
  p.copy(placed(r), valueSize, count, placed(u));
  p.rescale(placed(r), valueSize, count, placed(u), FACTOR.beta, FACTOR.none);

  // By u: of y, and of the state behind the chunk.
  p.product(qk, count, count, placed(dy), valueSize, placed(du), { turned: true });
  if (hasSlope) {
    p.product(k, count, keySize, slope, valueSize, placed(x), { byRows: true });
    each((token) => {
      const change = leftBehind(token) * p.dot(row(x, token), row(u, token), valueSize);
      decays[token] = (decays[token] ?? 0) - change;
      decays[last] = (decays[last] ?? 0) + change;
    });
    p.rescale(placed(x), valueSize, count, placed(du), FACTOR.one, FACTOR.behind);
  }
  p.copy(placed(du), valueSize, count, placed(x));
  p.rescale(placed(du), valueSize, count, placed(x), FACTOR.beta, FACTOR.none);
  p.product(solve, count, count, placed(x), valueSize, placed(w), { turned: true });
  p.copy(placed(w), valueSize, count, dvalues);
  p.product(kk, count, count, placed(w), valueSize, placed(du), { turned: true, scale: -1, add: true });

  p.product(dy, count, valueSize, placed(u), count, placed(yu), { byRows: true });
  p.product(w, count, valueSize, placed(u), count, placed(vu), { byRows: true });
  gates.add(numbers, row(yu, 0), row(qk, 0), count, 1, 1, scale);
  gates.add(numbers, row(vu, 0), row(kk, 0), count, 0, -1, 1);

  // By queries and keys: of each other, of the state before the chunk, and of that behind it.
  p.product(yu, count, count, placed(k), keySize, dquery, { add: true });
  p.product(yu, count, count, placed(q), keySize, dkey, { turned: true, add: true });
  p.product(vu, count, count, placed(k), keySize, dkey, { scale: -1, add: true });
  p.product(vu, count, count, placed(k), keySize, dkey, { turned: true, scale: -1, add: true });
  if (hasSlope) {
    p.product(u, count, valueSize, slope, keySize, placed(x));
    p.rescale(placed(x), keySize, count, dkey, FACTOR.one, FACTOR.behind);
    if (hasState)
      decays[last] = (decays[last] ?? 0) + (before[last] ?? 0) * p.dot(slope.at / 4, state.at / 4, valueSize * keySize);
  }
  if (hasState) {
    for (const [from, factor, other, to] of [
      [dy, scale, q, dquery],
      [w, -1, k, dkey],
    ] as const) {
      p.product(from, count, valueSize, state, keySize, placed(x), { scale: factor });
      each((token) => {
        const change = (before[token] ?? 0) * p.dot(row(x, token), row(other, token), keySize);
        decays[token] = (decays[token] ?? 0) + change;
      });
      p.rescale(placed(x), keySize, count, to, FACTOR.one, FACTOR.before);
      p.rescale(placed(from), valueSize, count, placed(from), FACTOR.before, FACTOR.none);
    }
    if (hasSlope) p.rescale(slope, valueSize * keySize, 1, slope, FACTOR.all, FACTOR.none);
    p.product(dy, valueSize, count, placed(q), keySize, slope, { turned: true, scale, add: hasSlope });
    p.product(w, valueSize, count, placed(k), keySize, slope, { turned: true, scale: -1, add: true });
  }
  let sum = 0;
  for (let token = last; token >= 0; token--) {
    sum += decays[token] ?? 0;
    const isFirst = begins[token] === 1;
    const to = (word(AT.dgates) + (begin + token) * word(AT.dgatesPitch)) / 4 + head;
    const b = beta[token] ?? 0;
    numbers[to] = p.dot(row(du, token), row(r, token), valueSize) * b * (1 - b);
    numbers[to + p.heads] = isFirst ? 0 : sum * (gates.slope[token] ?? 0);
    if (isFirst) sum = 0;
  }
  return hasState;
}
