import { type Machine, STORED_BYTES, type Stored } from "../machine.ts";
import { registers } from "./arguments.ts";
import { eachVector } from "./vectors.ts";

const COPY = {
  from: "address",
  pitch: "number",
  rows: "number",
  /** Of four numbers, in a row. */
  fours: "number",
  to: "address",
  toPitch: "number",
} as const;

/** Copies rows of numbers of a format, as f32. */
export function copy(m: Machine, stored: Stored): void {
  const { from, pitch, rows, fours, to, toPitch, others } = registers(m, COPY, 3);
  const [source = 0, target = 0, left = 0] = others;
  m.steps(rows, 1, () => {
    m.copy(source, from);
    m.copy(target, to);
    eachVector(m, fours, left, (count, numbers) => {
      m.read(0, { word: source }, stored, count);
      m.store(0, { word: target }, count);
      m.add(source, { bytes: numbers * STORED_BYTES[stored] });
      m.add(target, { bytes: numbers * 4 });
    });
    m.add(from, pitch);
    m.add(to, toPitch);
  });
}
