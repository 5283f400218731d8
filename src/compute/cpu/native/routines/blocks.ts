// Products with matrices in blocks of whole numbers: x is rounded to 15 bits a row and 256 terms, so a block's sum is a whole number,
// exact in any order, and scaled once. The sums of blocks are added one after the other, by FMA.
import { BLOCK } from "../../../device/blocks.ts";
import { BLOCK_BYTES, type Blocks, type Machine } from "../machine.ts";
import { indexOf, registers } from "./arguments.ts";
import { panelCols, ROWS_AT, WHOLE_PITCH } from "./layout.ts";

/** Pairs of a block. */
const PAIRS = BLOCK / 2;

const ROUND = {
  x: "address",
  pitch: "number",
  rows: "number",
  /** Whole blocks. */
  terms: "number",
  to: "address",
  /** What each rounded row is to be multiplied by. */
  scales: "address",
  /** Room for a vector. */
  room: "address",
  /** The bits of an f32 but its sign. */
  magnitude: "f32",
  /** The largest whole number, and the smallest magnitude that is scaled to it. */
  most: "f32",
  least: "f32",
} as const;

/** Rounds rows of f32; what is not finite makes a row's scale NaN. */
export function round(m: Machine): void {
  const { x, pitch, rows, terms, to, scales, room, others } = registers(m, ROUND, 3);
  const [from = 0, target = 0, left = 0] = others;
  const [largest, most, least, magnitude, value] = [0, 1, 2, 3, 4];
  m.broadcastArgument(most, indexOf(ROUND, "most"));
  m.broadcastArgument(least, indexOf(ROUND, "least"));
  m.broadcastArgument(magnitude, indexOf(ROUND, "magnitude"));
  m.steps(rows, 1, () => {
    m.copy(from, x);
    m.copy(left, terms);
    m.zero(largest);
    m.steps(left, m.lanes, () => {
      m.load(value, { word: from });
      m.and(value, value, magnitude);
      m.larger(largest, largest, value);
      m.add(from, { bytes: m.lanes * 4 });
    });
    m.store(largest, { word: room });
    for (let lane = 0; lane < m.lanes; lane++) {
      m.broadcast(value, { word: room, offset: lane * 4 });
      m.larger(largest, largest, value);
    }
    m.larger(largest, largest, least);
    m.divide(value, largest, most);
    m.subtract(5, largest, largest);
    m.add32(value, value, 5);
    m.store(value, { word: scales }, "one");
    m.divide(largest, most, largest);
    m.copy(from, x);
    m.copy(target, to);
    m.copy(left, terms);
    m.steps(left, m.lanes, () => {
      m.load(value, { word: from });
      m.multiply(value, value, largest);
      m.storeWhole(value, { word: target });
      m.add(from, { bytes: m.lanes * 4 });
      m.add(target, { bytes: m.lanes * 2 });
    });
    m.add(x, pitch);
    m.add(to, { bytes: WHOLE_PITCH });
    m.add(scales, { bytes: 4 });
  });
}

const PANEL_OF_BLOCKS = {
  /** Of the first block, in every row. */
  offset: "number",
  blocks: "number",
  to: "address",
  nibbles: "f32",
  eights: "f32",
} as const;

/** Pairs of terms of all columns side by side, of a matrix whose rows run along the terms. */
export function panelOfBlocks(m: Machine, stored: Blocks): void {
  const { offset, blocks, to, others } = registers(m, PANEL_OF_BLOCKS, 4);
  const [here = 0, row = 0, target = 0, left = 0] = others;
  const next = panelCols(m) * 4;
  const constants = [2 * m.lanes - 1, 2 * m.lanes - 2, 2 * m.lanes - 3] as const;
  for (let square = 0; square < m.tile.vectors; square++) {
    m.heap(here);
    m.add(here, offset);
    m.copy(target, to);
    m.add(target, { bytes: square * m.lanes * 4 });
    m.copy(left, blocks);
    m.steps(left, 1, () => {
      for (let part = 0; part < PAIRS / m.lanes; part++) {
        m.broadcastArgument(constants[0], indexOf(PANEL_OF_BLOCKS, "nibbles"));
        m.broadcastArgument(constants[1], indexOf(PANEL_OF_BLOCKS, "eights"));
        for (let at = 0; at < m.lanes; at++) {
          m.argument(row, ROWS_AT + square * m.lanes + at);
          if (part === 0) m.prefetch({ word: here, index: row, offset: 256 });
          m.readPairs(at, { word: here, index: row }, stored, part, constants);
        }
        m.transpose().forEach((column, at) => m.store(column, { word: target, offset: (part * m.lanes + at) * next }));
      }
      m.add(here, { bytes: BLOCK_BYTES[stored] });
      m.add(target, { bytes: PAIRS * next });
    });
  }
}

const TILE_OF_BLOCKS = {
  x: "address",
  scales: "address",
  panel: "address",
  panelScales: "address",
  blocks: "number",
  to: "address",
  /** Tiles of different rows. */
  count: "number",
} as const;

/** The sums of rounded rows with a panel. */
export function tileOfBlocks(m: Machine, rows: number): void {
  const { x, scales, panel, panelScales, blocks, to, count, others } = registers(m, TILE_OF_BLOCKS, 4);
  const [here = 0, cols = 0, factors = 0, left = 0] = others;
  const { vectors } = m.tile;
  const width = panelCols(m) * 4;
  const whole = (row: number, vector: number) => row * vectors + vector;
  const sum = (row: number, vector: number) => (rows + row) * vectors + vector;
  const b = (vector: number) => 2 * rows * vectors + vector;
  const [a, temporary] = [(2 * rows + 1) * vectors, (2 * rows + 1) * vectors + 1];
  const each = (use: (row: number, vector: number) => void): void => {
    for (let row = 0; row < rows; row++) for (let vector = 0; vector < vectors; vector++) use(row, vector);
  };
  m.steps(count, 1, () => {
    m.copy(here, x);
    m.copy(cols, panel);
    m.copy(factors, panelScales);
    m.copy(left, blocks);
    each((row, vector) => m.zero(sum(row, vector)));
    m.steps(left, 1, () => {
      each((row, vector) => m.zero(whole(row, vector)));
      for (let pair = 0; pair < PAIRS; pair++) {
        for (let at = 0; at < vectors; at++) m.load(b(at), { word: cols, offset: pair * width + at * m.lanes * 4 });
        for (let row = 0; row < rows; row++) {
          m.broadcast(a, { word: here, offset: row * WHOLE_PITCH + pair * 4 });
          for (let at = 0; at < vectors; at++) m.addPairs(whole(row, at), a, b(at), temporary);
        }
      }
      for (let at = 0; at < vectors; at++) m.load(b(at), { word: factors, offset: at * m.lanes * 4 });
      each((row, vector) => {
        m.fromWhole(whole(row, vector), whole(row, vector));
        m.fma(sum(row, vector), whole(row, vector), b(vector));
      });
      m.add(here, { bytes: BLOCK * 2 });
      m.add(cols, { bytes: PAIRS * width });
      m.add(factors, { bytes: width });
    });
    for (let row = 0; row < rows; row++) {
      m.broadcast(a, { word: scales, offset: row * 4 });
      for (let at = 0; at < vectors; at++) {
        m.multiply(sum(row, at), a, sum(row, at));
        m.store(sum(row, at), { word: to, offset: row * width + at * m.lanes * 4 });
      }
    }
    m.add(to, { bytes: rows * width });
    m.add(x, { bytes: rows * WHOLE_PITCH });
    m.add(scales, { bytes: rows * 4 });
  });
}

const PANEL_FROM_BLOCKS = {
  from: "address",
  pitch: "number",
  scales: "address",
  scalesPitch: "number",
  terms: "number",
  to: "address",
  nibbles: "f32",
  eights: "f32",
} as const;

/**
 * A panel of f32 of a matrix whose rows are the terms: a part of one block of each.
 * @param second the panel's columns are the second half of their block
 */
export function panelFromBlocks(m: Machine, stored: Blocks, second: boolean): void {
  const { from, pitch, scales, scalesPitch, terms, to } = registers(m, PANEL_FROM_BLOCKS);
  const [factor, value, ...constants] = [0, 1, 2, 3] as const;
  m.broadcastArgument(constants[0], indexOf(PANEL_FROM_BLOCKS, "nibbles"));
  m.broadcastArgument(constants[1], indexOf(PANEL_FROM_BLOCKS, "eights"));
  m.steps(terms, 1, () => {
    m.broadcastHalf(factor, { word: scales });
    for (let vector = 0; vector < m.tile.vectors; vector++) {
      const col = (second ? BLOCK / 2 : 0) + vector * m.lanes;
      const offset = stored === "Q8_0" ? col : col % (BLOCK / 2);
      m.readWhole(value, { word: from, offset }, stored, col >= BLOCK / 2, constants);
      m.multiply(value, factor, value);
      m.store(value, { word: to, offset: vector * m.lanes * 4 });
    }
    m.add(from, pitch);
    m.add(scales, scalesPitch);
    m.add(to, { bytes: panelCols(m) * 4 });
  });
}
