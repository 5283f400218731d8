import type { Machine } from "../machine.ts";
import { registers } from "./arguments.ts";
import { eachVector } from "./vectors.ts";
import { panelCols } from "./layout.ts";

const SCALED = {
  lambda: "address",
  slow: "address",
  fast: "address",
  fastPitch: "number",
  terms: "number",
  /** Columns, in fours. */
  fours: "number",
  to: "address",
} as const;

/** Terms of a panel of Ŝ, as long as one row of the slow factor serves: λ · (slow ∘ fast). */
export function scaled(m: Machine): void {
  const { lambda, slow, fast, fastPitch, terms, fours, to, others } = registers(m, SCALED, 2);
  const [at = 0, left = 0] = others;
  const [factor, product, other] = [0, 1, 2];
  m.steps(terms, 1, () => {
    m.broadcast(factor, { word: lambda });
    m.zeroWord(at);
    eachVector(m, fours, left, (count, numbers) => {
      m.load(product, { word: slow, index: at }, count);
      m.load(other, { word: fast, index: at }, count);
      m.multiply(product, product, other);
      m.multiply(product, factor, product);
      m.store(product, { word: to, index: at }, count);
      m.add(at, { bytes: numbers * 4 });
    });
    m.add(lambda, { bytes: 4 });
    m.add(fast, fastPitch);
    m.add(to, { bytes: panelCols(m) * 4 });
  });
}
