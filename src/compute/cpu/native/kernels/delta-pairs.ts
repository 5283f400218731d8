// What the gradients of the gated delta rule need of each pair of a chunk's tokens, from their gates.
import { MOST_CHUNK } from "../../families/gated-delta.ts";
import { type Chunks, FACTOR, PITCH } from "./delta-chunks.ts";
import { firstOf } from "./delta-gates.ts";

/** The gates of a chunk's tokens, and what is made of them alone. */
export class Gates {
  readonly beta = new Float64Array(MOST_CHUNK);
  /** Of the logarithm of what is left, by the gate. */
  readonly slope = new Float64Array(MOST_CHUNK);
  /** Whether a text begins. */
  readonly begins = new Uint8Array(MOST_CHUNK);
  /** What is left of the state before the chunk: g. */
  readonly before = new Float64Array(MOST_CHUNK);
  /** D, rows of MOST_CHUNK. */
  readonly left = new Float64Array(MOST_CHUNK * MOST_CHUNK);
  /** The gradients by logarithms of what is left from the chunk's begin to each token. */
  readonly slopes = new Float64Array(MOST_CHUNK);
  readonly #inverse = new Float64Array(MOST_CHUNK * MOST_CHUNK);

  read(p: Chunks, head: number, begin: number, count: number): void {
    for (let t = 0; t < count; t++) {
      p.on.parts.deltaGate(p.parameters, begin + t, head, p.gate);
      const given = (at: number): number => p.numbers[p.gate / 4 + at] ?? 0;
      const [left, beta, slope] = [given(0), given(1), given(2)];
      const isFirst = firstOf(p.on, p.word, begin + t) === begin + t;
      this.beta[t] = beta;
      this.slope[t] = slope;
      this.begins[t] = isFirst ? 1 : 0;
      const kept = isFirst ? 0 : left;
      this.before[t] = kept * (t === 0 ? 1 : (this.before[t - 1] ?? 0));
      const row = t * MOST_CHUNK;
      for (let s = 0; s < t; s++) this.left[row + s] = kept * (this.left[row - MOST_CHUNK + s] ?? 0);
      this.left[row + t] = 1;
    }
    this.slopes.fill(0);
    p.factors(FACTOR.beta, (row) => this.beta[row] ?? 0);
    p.factors(FACTOR.before, (row) => this.before[row] ?? 0);
    p.factors(FACTOR.minusBefore, (row) => -(this.before[row] ?? 0));
    p.factors(FACTOR.behind, (row) => this.left[(count - 1) * MOST_CHUNK + row] ?? 0);
    p.factors(FACTOR.one, () => 1);
    p.factors(FACTOR.none, () => 0);
    p.factors(FACTOR.all, () => this.before[count - 1] ?? 0);
  }

  /** Multiplies pairs of tokens by D; those behind the diagonal, or from it on, become 0. */
  mask(numbers: Float32Array, at: number, count: number, diagonal: 0 | 1): void {
    for (let t = 0; t < count; t++) {
      const row = at + t * PITCH;
      for (let s = 0; s < count; s++) {
        const by = this.left[t * MOST_CHUNK + s] ?? 0;
        numbers[row + s] = s < t + diagonal ? (numbers[row + s] ?? 0) * by : 0;
      }
    }
  }

  /** The inverse of 1 + pairs · β. */
  invert(numbers: Float32Array, pairs: number, to: number, count: number): void {
    for (let t = 0; t < count; t++) {
      const own = t * MOST_CHUNK;
      this.#inverse.fill(0, own, own + count);
      this.#inverse[own + t] = 1;
      for (let s = 0; s < t; s++) {
        const by = (numbers[pairs + t * PITCH + s] ?? 0) * (this.beta[s] ?? 0);
        if (by === 0) continue;
        const other = s * MOST_CHUNK;
        for (let at = 0; at <= s; at++)
          this.#inverse[own + at] = (this.#inverse[own + at] ?? 0) - by * (this.#inverse[other + at] ?? 0);
      }
      for (let at = 0; at < count; at++) numbers[to + t * PITCH + at] = this.#inverse[own + at] ?? 0;
    }
  }

  /** Adds to slopes what pairs of tokens come to, and makes gradients by products of their rows of them. */
  add(
    numbers: Float32Array,
    gradients: number,
    products: number,
    count: number,
    diagonal: 0 | 1,
    sign: 1 | -1,
    scale: number,
  ): void {
    for (let t = 0; t < count; t++) {
      const [own, other] = [gradients + t * PITCH, products + t * PITCH];
      for (let s = 0; s < count; s++) {
        const value = numbers[own + s] ?? 0;
        const isSeen = s < t + diagonal;
        if (s < t) {
          const change = sign * value * (numbers[other + s] ?? 0);
          this.slopes[t] = (this.slopes[t] ?? 0) + change;
          this.slopes[s] = (this.slopes[s] ?? 0) - change;
        }
        numbers[own + s] = isSeen ? value * scale * (this.left[t * MOST_CHUNK + s] ?? 0) : 0;
      }
    }
  }
}
