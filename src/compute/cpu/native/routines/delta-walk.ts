// The gated delta rule for the columns of a panel: token after token, with the panel's part of a state in the first cache.
import type { Machine } from "../machine.ts";
import { indexOf, registers } from "./arguments.ts";
import { panelCols, ROW_PITCH } from "./layout.ts";

/** Where in a token's row of `x` its query stands, and what `deltaGate` gives: what is left of the state, and β behind it. */
export const WALK = { query: 512, left: 1024, beta: 1028 } as const;

const DELTA_WALK = {
  /** Rows by number of the key, in fours. */
  state: "address",
  fours: "number",
  tokens: "number",
  /** Rows `ROW_PITCH` apart: a token's key, and what `WALK` says. */
  x: "address",
  /** Rows of a panel: values, which become results. */
  v: "address",
  scale: "f32",
} as const;

/** Keys of a turn: as many sums add up apart, and are added as the module's lanes are, nothing of it by FMA, so that the bits are its. */
const TURN = [0, 1, 2, 3] as const;

export function deltaWalk(m: Machine): void {
  const { state, fours, tokens, x, v, others } = registers(m, DELTA_WALK, 3);
  const [here = 0, key = 0, left = 0] = others;
  const width = panelCols(m) * 4;
  const [number, other, factor, value, product] = [0, 1, 2, 3, 4];
  const vectors = Array.from({ length: m.tile.vectors }, (_, at) => at);
  const sum = (vector: number, turn: number): number => 5 + TURN.length * vector + turn;
  const added = (vector: number): number => 5 + TURN.length * m.tile.vectors + vector;
  const addProduct = (to: number, a: number, b: number): void => {
    m.multiply(product, a, b);
    m.add32(to, to, product);
  };
  const eachKey = (body: (turn: number) => void): void => {
    for (const vector of vectors) for (const turn of TURN) m.zero(sum(vector, turn));
    m.copy(here, state);
    m.copy(key, x);
    m.copy(left, fours);
    m.steps(left, 1, () => {
      for (const turn of TURN) body(turn);
      m.add(here, { bytes: TURN.length * width });
      m.add(key, { bytes: TURN.length * 4 });
    });
    for (const vector of vectors) {
      m.add32(sum(vector, 0), sum(vector, 0), sum(vector, 2));
      m.add32(sum(vector, 1), sum(vector, 1), sum(vector, 3));
      m.add32(sum(vector, 0), sum(vector, 0), sum(vector, 1));
    }
  };
  m.steps(tokens, 1, () => {
    eachKey((turn) => {
      m.broadcast(number, { word: key, offset: turn * 4 });
      for (const vector of vectors) {
        m.load(value, { word: here, offset: turn * width + vector * m.lanes * 4 });
        addProduct(sum(vector, turn), number, value);
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
    eachKey((turn) => {
      m.broadcast(number, { word: key, offset: turn * 4 });
      m.broadcast(other, { word: key, offset: turn * 4 + WALK.query });
      for (const vector of vectors) {
        const at = { word: here, offset: turn * width + vector * m.lanes * 4 };
        m.load(value, at);
        m.multiply(value, factor, value);
        addProduct(value, number, added(vector));
        m.store(value, at);
        addProduct(sum(vector, turn), other, value);
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
