import { bitsOf } from "./functions.ts";
import { eachVector } from "./vectors.ts";
import { type Node, reached, remade, type RowKernel } from "../../../rows/language.ts";
import { plain } from "../../../rows/functions.ts";
import type { Count, Lanes, Machine } from "../machine.ts";

/**
 * What the routine of a kernel takes: rows, segments of each, vectors of 4 of a segment and their bytes; of sums the blocks of 256
 * vectors, how many vectors and blocks are before the one that is not whole, 1 where there is such a one, and where its mask lies; that
 * mask; of every operand its address and the bytes from a row's end to the next; numbers.
 */
export const FIXED = {
  rows: 0,
  segments: 1,
  fours: 2,
  bytes: 3,
  blocks: 4,
  whole: 5,
  wholeBlocks: 6,
  rest: 7,
  maskAt: 8,
  mask: 9,
  operands: 13,
} as const;

/** Vectors of a partial sum. */
export const BLOCK = 256;

const INSTRUCTIONS = {
  add: "add32",
  sub: "subtract",
  mul: "multiply",
  div: "divide",
  min: "atMost",
  max: "atLeast",
  and: "and",
  or: "or",
} as const satisfies Readonly<Record<string, keyof Machine>>;

const isInstruction = (op: string): op is keyof typeof INSTRUCTIONS => op in INSTRUCTIONS;

/** What these are made of in each column, arguments first. */
function ofColumns(roots: readonly Node[], seen = new Set<Node>()): Set<Node> {
  for (const root of roots) {
    if (seen.has(root) || !root.isEach) continue;
    ofColumns(root.args, seen);
    seen.add(root);
  }
  return seen;
}

/** A row kernel, over rows of whole vectors of 4. Each sum has a pass of its own but for those that wait for nothing of each other. */
export function rowKernel(m: Machine, kernel: RowKernel): void {
  const { operands, parameters } = kernel;
  const names = Object.keys(kernel.targets);
  const values = plain(Object.values(kernel.targets));
  const all = [...reached(values)];
  const sums = all.filter(({ op }) => op === "sum");
  const moving = operands.filter((operand) => !kernel.shared.includes(operand));
  const [rows, segments, left, index, inner, blocks] = [0, 1, 2, 3, 4, 5];
  const wordOf = (operand: string): number => 6 + operands.indexOf(operand);
  const numberAt = (name: string): number => FIXED.operands + 2 * operands.length + parameters.indexOf(name);

  const free = Array.from({ length: m.registers }, (_, at) => m.registers - 1 - at);
  const places = new Map<Node, Lanes>();
  const take = (): Lanes => {
    const found = free.pop();
    if (found === undefined) throw new Error(`${kernel.name} needs more than ${m.registers} registers`);
    return found;
  };
  /** Numbers of columns leave their registers to others after their last use. */
  const write = (of: Node, uses: Map<Node, number>, count: Count, mask: Lanes): void => {
    const { op, args, data } = of;
    const temporaries: Lanes[] = [];
    const temporary = (): Lanes => {
      const taken = take();
      temporaries.push(taken);
      return taken;
    };
    const [a = 0, b = 0, x = 0, y = 0] = (op === "shifted" ? args.slice(0, 1) : args).map((arg) => {
      const place = places.get(arg);
      if (place !== undefined) return place;
      const near = temporary();
      if (arg.op === "parameter") m.broadcastArgument(near, numberAt(String(arg.data)));
      else m.constant(near, arg.op === "bits" ? Number(arg.data) : bitsOf(Number(arg.data)));
      return near;
    });
    const chosen = op === "unless" || op === "select" ? temporary() : 0;
    if (op === "unless") m.less(chosen, b, x);
    if (op === "select") {
      const other = temporary();
      m.less(chosen, a, b);
      m.and(other, x, chosen);
      m.andNot(chosen, y, chosen);
      m.or(chosen, chosen, other);
    }
    for (const arg of args) {
      const rest = (uses.get(arg) ?? 0) - 1;
      uses.set(arg, rest);
      const place = places.get(arg);
      if (rest === 0 && arg.isEach && place !== undefined) free.push(place);
    }
    // The result of `select` is in the mask's register.
    free.push(...temporaries.filter((taken) => op !== "select" || taken !== chosen));
    const to = op === "select" ? chosen : take();
    places.set(of, to);
    if (op === "load") m.load(to, { word: wordOf(String(data)), index }, count);
    else if (op === "parameter") m.broadcastArgument(to, numberAt(String(data)));
    else if (op === "number") m.constant(to, bitsOf(Number(data)));
    else if (op === "unless") m.andNot(to, a, chosen);
    else if (op === "within") m.and(to, a, mask);
    else if (op === "root") m.squareRoot(to, a);
    else if (op === "shifted") m.shiftLeft(to, a, Number(args[1]?.data));
    else if (isInstruction(op)) m[INSTRUCTIONS[op]](to, a, b);
    else if (op !== "select") throw new Error(`${kernel.name}: there is no instruction for ${op}`);
  };
  /** What these are in some columns; `then` is told their registers. */
  const inColumns = (
    roots: readonly Node[],
    count: Count,
    mask: Lanes | undefined,
    then: (at: Lanes[]) => void,
  ): void => {
    const whole = mask === undefined ? roots.map(unmasked) : roots;
    const order = ofColumns(whole);
    const uses = new Map<Node, number>();
    for (const arg of [...[...order].flatMap(({ args }) => args), ...whole]) uses.set(arg, (uses.get(arg) ?? 0) + 1);
    const before = [...free];
    for (const of of order) write(of, uses, count, mask ?? 0);
    then(whole.map((root) => places.get(root) ?? 0));
    free.splice(0, free.length, ...before);
    for (const of of order) places.delete(of);
    m.add(index, { bytes: 4 * (count === "all" ? m.lanes : 4) });
  };
  /** The vector that is not whole, where there is one. */
  const rest = (roots: readonly Node[], then: (at: Lanes[]) => void): void => {
    const mask = take();
    m.address(inner, FIXED.maskAt);
    m.load(mask, { word: inner }, "four");
    m.argument(left, FIXED.rest);
    m.steps(left, 1, () => inColumns(roots, "four", mask, then));
    free.push(mask);
  };
  const isMasked = (roots: readonly Node[]): boolean => [...ofColumns(roots)].some(({ op }) => op === "within");

  /** Sums of four lanes, which add up 256 vectors each, and then what these come to. */
  const sum = (some: readonly Node[]): void => {
    const terms = some.flatMap(({ args }) => args);
    const masked = isMasked(terms);
    const totals = some.map((of) => {
      const total = take();
      places.set(of, total);
      m.zero(total);
      return total;
    });
    const addTo = (sums: readonly Lanes[]) => (at: readonly Lanes[]) =>
      sums.forEach((one, term) => m.add32(one, one, at[term] ?? 0));
    m.zeroWord(index);
    m.argument(blocks, masked ? FIXED.wholeBlocks : FIXED.blocks);
    m.argument(left, masked ? FIXED.whole : FIXED.fours);
    const parts = some.map(take);
    m.steps(blocks, 1, () => {
      m.take(inner, left, BLOCK);
      for (const part of parts) m.zero(part);
      m.steps(inner, 1, () => inColumns(terms, "four", undefined, addTo(parts)));
      addTo(totals)(parts);
    });
    free.push(...parts);
    if (masked) rest(terms, addTo(totals));
    const temporary = take();
    for (const total of totals) m.sumFour(total, temporary);
    free.push(temporary);
  };
  const store = (): void => {
    const masked = isMasked(values);
    const write = (count: Count) => (at: readonly Lanes[]) =>
      names.forEach((name, value) => m.store(at[value] ?? 0, { word: wordOf(name), index }, count));
    m.zeroWord(index);
    m.argument(inner, masked ? FIXED.whole : FIXED.fours);
    eachVector(m, inner, left, (count) => inColumns(values, count, undefined, write(count)));
    if (masked) rest(values, write("four"));
  };

  const used = new Set(all.filter(({ isEach }) => isEach).flatMap(({ args }) => args));
  const isNear = (of: Node): boolean =>
    (of.op === "number" && !values.includes(of)) || of.op === "bits" || (of.op === "parameter" && !used.has(of));
  /** What is the same in all columns, once so many sums are known. */
  const scalars = (level: number): Node[] =>
    all.filter((of) => !of.isEach && of.level === level && of.op !== "sum" && !isNear(of));
  /** The pass that reads it last; that of its level if it is scalars alone. */
  const lastPass = (of: Node): number => {
    const passes = [...ofPass.entries()].filter(([, roots]) => {
      const columns = [...ofColumns(roots)];
      return roots.includes(of) || columns.some(({ args }) => args.includes(of));
    });
    const later = all
      .filter(({ isEach, args }) => !isEach && args.includes(of))
      .map(({ level, op }) => level - (op === "sum" ? 1 : 0));
    return Math.max(-1, ...passes.map(([pass]) => pass), ...later.map((level) => level - 1));
  };
  const depth = Math.max(0, ...values.map(({ level }) => level));
  const sumsOf = (pass: number): Node[] => sums.filter(({ level }) => level === pass + 1);
  const ofPass = Array.from({ length: depth + 1 }, (_, pass) =>
    pass === depth ? values : sumsOf(pass).flatMap(({ args }) => args),
  );

  m.argument(rows, FIXED.rows);
  for (const [at, operand] of operands.entries()) m.address(wordOf(operand), FIXED.operands + 2 * at);
  for (const of of scalars(0)) write(of, new Map(), "all", 0);
  const before = [...free];
  m.steps(rows, 1, () => {
    m.argument(segments, FIXED.segments);
    m.steps(segments, 1, () => {
      for (let pass = 0; pass < depth; pass++) {
        sum(sumsOf(pass));
        for (const of of scalars(pass + 1)) write(of, new Map(), "all", 0);
        for (const [of, place] of places) {
          if (of.level === 0 || lastPass(of) > pass) continue;
          free.push(place);
          places.delete(of);
        }
      }
      store();
      m.argument(left, FIXED.bytes);
      for (const operand of moving) m.add(wordOf(operand), left);
    });
    for (const [at, operand] of operands.entries()) {
      if (!moving.includes(operand)) continue;
      m.argument(left, FIXED.operands + 2 * at + 1);
      m.add(wordOf(operand), left);
    }
  });
  free.splice(0, free.length, ...before);
}

/** The same where all columns are within. */
function unmasked(of: Node): Node {
  const [x] = of.args;
  if (!of.isEach) return of;
  return of.op === "within" && x !== undefined ? unmasked(x) : remade(of, of.args.map(unmasked));
}
