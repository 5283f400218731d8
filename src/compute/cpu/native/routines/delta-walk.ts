// The gated delta rule for the columns of a panel: token after token, with the panel's part of a state in the first cache.
import type { Machine } from "../machine.ts";
import { indexOf, registers } from "./arguments.ts";
import { panelCols, ROW_PITCH } from "./layout.ts";

/** Where in a token's row of `x` its query stands, and what `deltaGate` gives: what is left of the state, and β behind it. */
export const WALK = { query: 512, left: 1024, beta: 1028 } as const;

const DELTA_WALK = {
  /** Rows by number of the key, in twos. */
  state: "address",
  pairs: "number",
  tokens: "number",
  /** Rows `ROW_PITCH` apart: a token's key, and what `WALK` says. */
  x: "address",
  /** Rows of a panel: values, which become results. */
  v: "address",
  scale: "f32",
} as const;

/** Sums add up even and odd numbers of keys apart, so that no one waits for the last. */
export function deltaWalk(m: Machine): void {
  const { state, pairs, tokens, x, v, others } = registers(m, DELTA_WALK, 3);
  const [here = 0, key = 0, left = 0] = others;
  const width = panelCols(m) * 4;
  const [number, other, factor, value] = [0, 1, 2, 3];
  const vectors = Array.from({ length: m.tile.vectors }, (_, at) => at);
  const sum = (vector: number, odd: number): number => 4 + 2 * vector + odd;
  const added = (vector: number): number => 4 + 2 * m.tile.vectors + vector;
  const eachKey = (body: (odd: number) => void): void => {
    for (const vector of vectors) for (const odd of [0, 1]) m.zero(sum(vector, odd));
    m.copy(here, state);
    m.copy(key, x);
    m.copy(left, pairs);
    m.steps(left, 1, () => {
      for (const odd of [0, 1]) body(odd);
      m.add(here, { bytes: 2 * width });
      m.add(key, { bytes: 8 });
    });
    for (const vector of vectors) m.add32(sum(vector, 0), sum(vector, 0), sum(vector, 1));
  };
  m.steps(tokens, 1, () => {
    eachKey((odd) => {
      m.broadcast(number, { word: key, offset: odd * 4 });
      for (const vector of vectors) {
        m.load(value, { word: here, offset: odd * width + vector * m.lanes * 4 });
        m.fma(sum(vector, odd), number, value);
      }
    });
    m.broadcast(factor, { word: x, offset: WALK.left });
    m.broadcast(other, { word: x, offset: WALK.beta });
    for (const vector of vectors) {
      m.multiply(value, factor, sum(vector, 0));
      m.load(added(vector), { word: v, offset: vector * m.lanes * 4 });
      m.subtract(added(vector), added(vector), value);
      m.multiply(added(vector), other, added(vector));
    }
    eachKey((odd) => {
      m.broadcast(number, { word: key, offset: odd * 4 });
      m.broadcast(other, { word: key, offset: odd * 4 + WALK.query });
      for (const vector of vectors) {
        const at = { word: here, offset: odd * width + vector * m.lanes * 4 };
        m.load(value, at);
        m.multiply(value, factor, value);
        m.fma(value, number, added(vector));
        m.store(value, at);
        m.fma(sum(vector, odd), other, value);
      }
    });
    m.broadcastArgument(factor, indexOf(DELTA_WALK, "scale"));
    for (const vector of vectors) {
      m.multiply(sum(vector, 0), factor, sum(vector, 0));
      m.store(sum(vector, 0), { word: v, offset: vector * m.lanes * 4 });
    }
    m.add(x, { bytes: ROW_PITCH });
    m.add(v, { bytes: width });
  });
}
