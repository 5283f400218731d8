import { roundToGrid, toHalfBits } from "../../random/grid.ts";
import type { FloatGrid } from "../../random/names.ts";
import { singleUniform, type SingleMap } from "../../random/uniform.ts";
import type { DenseDraw, Runs } from "./dense-draw.ts";
import type { HalfStorage, SingleStorage } from "./storage.ts";

type SingleFinal = Float32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>;

/** Dense single-precision draws of one matrix, stored as the grid allows. */
export class SingleDraw implements DenseDraw<Float32Array, SingleFinal> {
  readonly map: SingleMap;
  readonly #grid: FloatGrid;
  #elements = 0;
  #sum = 0;
  #squares = 0;

  /** @param bound the draws are uniform in ±bound. */
  constructor(bound: number, grid: FloatGrid) {
    this.map = singleUniform(bound);
    this.#grid = grid;
  }

  stage(length: number): Float32Array {
    return new Float32Array(length);
  }

  allocate(length: number): SingleFinal {
    return this.#grid === "f32" ? new Float32Array(length) : new Uint16Array(length);
  }

  measure(raw: Float32Array, from: number, to: number): void {
    let sum = 0;
    let squares = 0;
    for (let i = from; i < to; i++) {
      const value = raw[i] as number;
      sum += value;
      squares += value * value;
    }
    this.#elements += to - from;
    this.#sum += sum;
    this.#squares += squares;
  }

  /** The mean is near zero by construction, so the one-pass formula in doubles loses nothing that f32 could show. */
  std(): number {
    const variance = (this.#squares - this.#sum ** 2 / this.#elements) / (this.#elements - 1);
    return Math.fround(Math.sqrt(variance));
  }

  divide(raw: Float32Array, from: number, to: number, std: number): void {
    for (let i = from; i < to; i++) raw[i] = (raw[i] as number) / std;
    if (this.#grid !== "f32") for (let i = from; i < to; i++) raw[i] = roundToGrid(raw[i] as number, this.#grid);
  }

  spread(raw: Float32Array, runs: Runs, final: SingleFinal): void {
    for (let row = 0; row < runs.rows; row++) {
      for (let group = 0; group < runs.groups; group++) {
        const from = row * runs.rowStep + group * runs.groupStep;
        this.#store(raw.subarray(from, from + runs.length), final, runs.at + row * runs.stride + group * runs.length);
      }
    }
  }

  #store(values: Float32Array, final: SingleFinal, at: number): void {
    const grid = this.#grid;
    if (grid === "f32") final.set(values, at);
    else for (let i = 0; i < values.length; i++) final[at + i] = toHalfBits(values[i] as number, grid);
  }

  storage(final: SingleFinal): SingleStorage | HalfStorage {
    if (final instanceof Float32Array) return { kind: "f32", data: final };
    return { kind: this.#grid === "f16" ? "f16" : "bf16", data: final };
  }

  singles(raw: Float32Array): Float32Array<ArrayBuffer> {
    return Float32Array.from(raw);
  }
}
