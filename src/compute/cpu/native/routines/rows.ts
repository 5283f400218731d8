import { bitsOf } from "./functions.ts";
import { eachVector } from "./vectors.ts";
import { type Node, reached, type RowKernel } from "../../../rows/language.ts";
import { plain } from "../../../rows/functions.ts";
import type { Count, Lanes, Machine } from "../machine.ts";

/** What the routine of a kernel takes: rows, vectors of 4 in each, of every operand its address and the bytes from a row's end to the next. */
export const FIXED = { rows: 0, fours: 1, operands: 2 } as const;

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
const isConstant = ({ op }: Node): boolean => op === "number" || op === "bits";

/** A row kernel, over rows of whole vectors of 4. */
export function rowKernel(m: Machine, kernel: RowKernel): void {
  const { operands, parameters } = kernel;
  const names = Object.keys(kernel.targets);
  const values = plain(Object.values(kernel.targets));
  const order = [...reached(values)].filter((of) => !isConstant(of));
  const [rows, fours, left] = [0, 1, 2];
  const wordOf = (operand: string): number => 3 + operands.indexOf(operand);
  m.argument(rows, FIXED.rows);
  m.argument(fours, FIXED.fours);
  for (const [at, operand] of operands.entries()) m.address(wordOf(operand), FIXED.operands + 2 * at);

  const free = Array.from({ length: m.registers }, (_, at) => m.registers - 1 - at);
  const places = new Map<Node, Lanes>();
  const take = (): Lanes => {
    const found = free.pop();
    if (found === undefined) throw new Error(`${kernel.name} needs more than ${m.registers} registers`);
    return found;
  };
  /** Numbers of columns leave their registers to others after their last use. */
  const write = (of: Node, uses: Map<Node, number>, count: Count): void => {
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
      m.constant(near, arg.op === "bits" ? Number(arg.data) : bitsOf(Number(arg.data)));
      return near;
    });
    const mask = op === "unless" || op === "select" ? temporary() : 0;
    if (op === "unless") m.less(mask, b, x);
    if (op === "select") {
      const other = temporary();
      m.less(mask, a, b);
      m.and(other, x, mask);
      m.andNot(mask, y, mask);
      m.or(mask, mask, other);
    }
    for (const arg of args) {
      const rest = (uses.get(arg) ?? 0) - 1;
      uses.set(arg, rest);
      const place = places.get(arg);
      if (rest === 0 && arg.isEach && place !== undefined) free.push(place);
    }
    // The result of `select` is in the mask's register.
    free.push(...temporaries.filter((taken) => op !== "select" || taken !== mask));
    const to = op === "select" ? mask : take();
    places.set(of, to);
    if (op === "load") m.load(to, { word: wordOf(String(data)) }, count);
    else if (op === "parameter") {
      m.broadcastArgument(to, FIXED.operands + 2 * operands.length + parameters.indexOf(String(data)));
    } else if (op === "unless") m.andNot(to, a, mask);
    else if (op === "shifted") m.shiftLeft(to, a, Number(args[1]?.data));
    else if (isInstruction(op)) m[INSTRUCTIONS[op]](to, a, b);
    else if (op !== "select") throw new Error(`${kernel.name}: there is no instruction for ${op}`);
  };
  const usesOf = (): Map<Node, number> => {
    const uses = new Map<Node, number>();
    for (const arg of [...order.flatMap(({ args }) => args), ...values]) uses.set(arg, (uses.get(arg) ?? 0) + 1);
    return uses;
  };

  // What is the same in all columns.
  for (const of of order) if (!of.isEach) write(of, usesOf(), "all");
  m.steps(rows, 1, () => {
    eachVector(m, fours, left, (count, numbers) => {
      const uses = usesOf();
      const before = [...free];
      for (const of of order) if (of.isEach) write(of, uses, count);
      for (const [at, value] of values.entries()) {
        m.store(places.get(value) ?? 0, { word: wordOf(names[at] ?? "") }, count);
      }
      free.splice(0, free.length, ...before);
      for (const operand of operands) m.add(wordOf(operand), { bytes: numbers * 4 });
    });
    for (const [at, operand] of operands.entries()) {
      if (kernel.shared.includes(operand)) {
        m.address(wordOf(operand), FIXED.operands + 2 * at);
        continue;
      }
      m.argument(left, FIXED.operands + 2 * at + 1);
      m.add(wordOf(operand), left);
    }
  });
}
