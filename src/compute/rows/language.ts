// A row kernel is a TypeScript function that runs once, over symbols. It returns a graph, which each backend lowers: f64 (the
// reference), the CPU device's machines, WGSL.

/** An operation on numbers; one of each column where it reads a matrix, else one of the whole segment of a row. */
export class Node {
  readonly op: string;
  readonly args: readonly Node[];
  /** The name of an operand or a parameter, the value of a constant. */
  readonly data: string | number;
  readonly isEach: boolean;
  /** How many sums it waits for, one after the other. */
  readonly level: number;

  constructor(op: string, args: readonly Node[], data: string | number) {
    this.op = op;
    this.args = args;
    this.data = data;
    this.isEach = op === "load" || (op !== "sum" && args.some(({ isEach }) => isEach));
    this.level = Math.max(0, ...args.map(({ level }) => level)) + (op === "sum" ? 1 : 0);
  }
}

type Given = Node | number;

/** By what they are made of: the same operation on the same nodes is one node, which is computed once. */
const known = new Map<string, Node>();
const numbers = new Map<Node, number>();

function node(op: string, args: readonly Node[], data: string | number = ""): Node {
  const key = [op, Object.is(data, -0) ? "-0" : data, ...args.map((arg) => numbers.get(arg))].join(" ");
  const found = known.get(key) ?? new Node(op, args, data);
  known.set(key, found);
  if (!numbers.has(found)) numbers.set(found, numbers.size);
  return found;
}

export const constant = (value: number): Node => node("number", [], value);
const nodeOf = (given: Given): Node => (given instanceof Node ? given : constant(given));

/** The same operation on other arguments. */
export const remade = ({ op, data }: Node, args: readonly Node[]): Node => node(op, args, data);
const operation =
  <A extends readonly Given[]>(op: string) =>
  (...args: A): Node =>
    node(op, args.map(nodeOf));
type One = [x: Given];
type Two = [a: Given, b: Given];

export const add = operation<Two>("add");
export const sub = operation<Two>("sub");
export const mul = operation<Two>("mul");
export const div = operation<Two>("div");
/** Where the first is no number, so is the result. */
export const min = operation<[x: Given, bound: Given]>("min");
export const max = operation<[x: Given, bound: Given]>("max");
export const exp = operation<One>("exp");
export const tanh = operation<One>("tanh");
export const erf = operation<One>("erf");
export const abs = operation<One>("abs");
export const root = operation<One>("root");
/** The sum of those that are there, from left to right. */
export const plusAll = (first: Node, ...rest: readonly (Node | undefined)[]): Node =>
  rest.reduce((sum: Node, x) => (x === undefined ? sum : add(sum, x)), first);
export const neg = (x: Given): Node => sub(-0, x);
/** x, and 0 where a < b. */
export const unless = operation<[x: Given, a: Given, b: Given]>("unless");
/** x where a < b, else y. */
export const select = operation<[a: Given, b: Given, x: Given, y: Given]>("select");

/** Over the columns of a segment and what lies behind them in its last vector of 4: operands are 0 there. */
export const sum = operation<[x: Node]>("sum");
/** x, and 0 behind the last column. */
export const within = operation<[x: Node]>("within");
/** Columns of a segment. */
export const COLUMNS = "columns";
export const mean = (x: Node): Node => div(sum(x), node("parameter", [], COLUMNS));

// Bits of f32, which functions of plain operations are made of.
export const bits = (value: number): Node => node("bits", [], value >>> 0);
export const and = operation<[x: Given, bits: Node]>("and");
export const or = operation<[x: Given, bits: Node]>("or");
/** Whole numbers, to the left. */
export const shifted = operation<[x: Given, by: number]>("shifted");

/** All nodes that these are made of, arguments first. */
export function reached(roots: Iterable<Node>, seen = new Set<Node>()): Set<Node> {
  for (const root of roots) {
    if (seen.has(root)) continue;
    reached(root.args, seen);
    seen.add(root);
  }
  return seen;
}

/** Names of the matrices that these read. */
export const readsOf = (roots: Iterable<Node>): string[] =>
  [...reached(roots)].filter(({ op }) => op === "load").map(({ data }) => String(data));

type Targets = Readonly<Record<string, Node>>;

/**
 * A graph on matrices of one shape, and rows that all segments of theirs share: what is assigned to some of the matrices. Traced when it
 * is first asked for.
 */
export class RowKernel {
  readonly name: string;
  /** Operands of one row, which is every segment's. */
  readonly shared: readonly string[];
  readonly #trace: () => Targets;
  #targets: Targets | undefined;
  /** A kernel is asked for them whenever it is recorded. */
  readonly #names = new Map<string, string[]>();
  #sums: boolean | undefined;

  constructor(name: string, trace: () => Targets, shared: readonly string[] = []) {
    this.name = name;
    this.shared = shared;
    this.#trace = trace;
  }

  get targets(): Targets {
    return (this.#targets ??= this.#traced());
  }

  /** Names of matrices that are read. */
  get reads(): string[] {
    return this.#namesOf("load");
  }

  /** All of them: those that are read, then what else is written. */
  get operands(): string[] {
    return [...new Set([...this.reads, ...Object.keys(this.targets)])];
  }

  get parameters(): string[] {
    return this.#namesOf("parameter");
  }

  /** Whether it needs whole segments. */
  get sums(): boolean {
    return (this.#sums ??= Object.values(this.targets).some(({ level }) => level > 0));
  }

  /** Without sums devices cannot tell which columns are behind the last. */
  #traced(): Targets {
    const targets = this.#trace();
    const all = [...reached(Object.values(targets))];
    if (all.some(({ op }) => op === "within") && all.every(({ op }) => op !== "sum")) {
      throw new Error(`row kernel ${this.name}: within without a sum`);
    }
    return targets;
  }

  #namesOf(op: "load" | "parameter"): string[] {
    const nodes = () => [...reached(Object.values(this.targets))].filter((node) => node.op === op);
    const found = this.#names.get(op) ?? nodes().map(({ data }) => String(data));
    this.#names.set(op, found);
    return found;
  }
}

/** Symbols of operands and parameters, by name. */
type Symbols<N extends string> = Readonly<Record<N, Node>>;

/** What kernels are declared by; inputs, y and its gradient dy are matrices of one shape, but for what is shared. */
interface Declared<I extends string, O extends I, P extends string, K extends string> {
  readonly name: string;
  readonly inputs: readonly I[];
  /** Those of them that are one row, which is every row's, or every segment's of a row. */
  readonly shared?: readonly I[];
  /** Those that may be left out. */
  readonly optional?: readonly O[];
  /** Numbers that are known when it is recorded. */
  readonly parameters?: readonly P[];
  /** Functions of which an attribute `kind` chooses one: a kernel each. */
  readonly kinds?: readonly K[];
  readonly value: (symbols: Symbols<Exclude<I, O> | P | "y"> & Partial<Symbols<O>>, kind: K) => Node;
  /**
   * ∂loss/∂input of each input, from dy = ∂loss/∂y; reads inputs or y. Of what is shared: what is summed down columns for that. Without
   * it there is no derivative.
   */
  readonly gradient?: (symbols: Symbols<I | P | "y" | "dy">, kind: K) => Readonly<Record<I, Node>>;
  readonly cases: readonly RowCase<I, O, P>[];
}

/** What is tried. */
interface RowCase<I, O, P extends string> {
  /** The largest number of each input. */
  readonly sizes: readonly number[];
  readonly numbers?: Readonly<Record<P, number>>;
  /** Odd ones and one row by default. */
  readonly shape?: readonly [rows: number, cols: number];
  /** Of a row; one by default. */
  readonly segments?: number;
  readonly without?: readonly O[];
  /** What an input's numbers are around, instead of 0. */
  readonly around?: { readonly [N in I & string]?: number };
}

/** What is declared, and its kernels. */
export interface Rows<
  I extends string = string,
  O extends I = I,
  P extends string = string,
  K extends string = string,
> extends Omit<Declared<I, O, P, K>, "value" | "gradient"> {
  readonly kernels: readonly RowKernel[];
  /** The kernel of y, of these optional inputs; or of the gradients of these inputs, `dINPUT`. */
  kernel(kind?: K, wanted?: readonly I[], given?: readonly O[]): RowKernel;
  /** An input's gradient, or what is summed down columns for it. */
  gradientOf(kind: K | undefined, input: I): Node | undefined;
  /** By input the operands whose product that is, where no kernel computes it: sums down columns take two. */
  readonly factors: ReadonlyMap<I, readonly string[] | undefined>;
}

/** Operands whose products are what is summed down columns: then there is no matrix of that; undefined: it is more than this. */
function factorsOf({ op, data, args }: Node): string[] | undefined {
  if (op === "load") return [String(data)];
  return op === "mul" && args.every((arg) => arg.op === "load") ? args.map((arg) => String(arg.data)) : undefined;
}

const subsets = <T>(all: readonly T[]): T[][] =>
  Array.from({ length: 2 ** all.length }, (_, set) => all.filter((_, at) => ((set >> at) & 1) === 1));

/** Declares kernels: of each kind the value, with each set of optional inputs, and the gradients of each set of inputs. */
export function rows<
  const I extends string,
  const O extends I = never,
  const P extends string = never,
  const K extends string = never,
>(declared: Declared<I, O, P, K>): Rows<I, O, P, K> {
  const { value, gradient, ...rest } = declared;
  const { name, inputs, kinds = [undefined], optional = [], shared = [], parameters = [] } = declared;
  const loads = [...inputs, "y", "dy"].map((operand) => [operand, node("load", [], operand)]);
  const numbers = parameters.map((parameter) => [parameter, node("parameter", [], parameter)]);
  const symbols = Object.fromEntries([...loads, ...numbers]) as Symbols<I | P | "y" | "dy">; // these names
  const keyOf = (kind: K | undefined, wanted?: readonly I[], given: readonly O[] = []) => {
    const parts = [
      name,
      kind,
      given.length > 0 && `with ${given.join(" and ")}`,
      wanted && `gradient of ${wanted.join(" and ")}`,
    ];
    return parts.filter((part) => part !== undefined && part !== false).join(", ");
  };
  const of = (kind: K | undefined) => kind as K; // functions of one kind never look at it
  const gradientOf = (kind: K | undefined, input: I) => gradient?.(symbols, of(kind))[input];
  const summed = new Map(
    shared.map((input) => {
      const found = gradientOf(kinds[0], input);
      return [input, found && factorsOf(found)];
    }),
  );
  const stored = gradient === undefined ? [] : inputs.filter((input) => summed.get(input) === undefined);
  const kernels = kinds.flatMap((kind) => [
    ...subsets(optional).map((given) => {
      const left = optional.filter((input) => !given.includes(input)).map((input) => [input, undefined]);
      const some = { ...symbols, ...Object.fromEntries(left) };
      return new RowKernel(keyOf(kind, undefined, given), () => ({ y: value(some, of(kind)) }), shared);
    }),
    ...subsets(stored)
      .filter(({ length }) => length > 0)
      .map((wanted) => {
        const trace = () =>
          Object.fromEntries(
            wanted.flatMap((input) => {
              const target = gradientOf(kind, input);
              return target === undefined ? [] : [[`d${input}`, target]];
            }),
          );
        return new RowKernel(keyOf(kind, wanted), trace, shared);
      }),
  ]);
  const byName = new Map(kernels.map((kernel) => [kernel.name, kernel]));
  // A value is asked for in every layer of every pass.
  const values = new Map(kinds.map((kind) => [kind, byName.get(keyOf(kind))]));
  return {
    ...rest,
    kernels,
    kernel(kind, wanted, given) {
      const isPlain = wanted === undefined && (given === undefined || given.length === 0);
      const found = isPlain ? values.get(kind) : byName.get(keyOf(kind, wanted, given));
      if (found === undefined) throw new Error(`there is no row kernel ${keyOf(kind, wanted, given)}`);
      return found;
    },
    gradientOf,
    factors: summed,
  };
}
