// A row kernel is a TypeScript function that runs once, over symbols. What it returns is a graph, which each backend lowers: f64 (the
// reference), the CPU device's machines, WGSL.

/** An operation on numbers; one of each column where it reads a matrix, else one of the whole row. */
export class Node {
  readonly op: string;
  readonly args: readonly Node[];
  /** The name of an operand or a parameter, the value of a constant. */
  readonly data: string | number;
  readonly isEach: boolean;

  constructor(op: string, args: readonly Node[], data: string | number) {
    this.op = op;
    this.args = args;
    this.data = data;
    this.isEach = op === "load" || args.some(({ isEach }) => isEach);
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

const nodeOf = (given: Given): Node => (given instanceof Node ? given : node("number", [], given));

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
export const neg = (x: Given): Node => sub(-0, x);
/** x, and 0 where a < b. */
export const unless = operation<[x: Given, a: Given, b: Given]>("unless");
/** x where a < b, else y. */
export const select = operation<[a: Given, b: Given, x: Given, y: Given]>("select");

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

type Targets = Readonly<Record<string, Node>>;

/** A graph on matrices of one shape, and rows that all of their rows share: what is assigned to some of them. Traced when it is first asked for. */
export class RowKernel {
  readonly name: string;
  /** Operands of one row, which is every row's. */
  readonly shared: readonly string[];
  readonly #trace: () => Targets;
  #targets: Targets | undefined;
  /** A kernel is asked for them whenever it is recorded. */
  readonly #names = new Map<string, string[]>();

  constructor(name: string, trace: () => Targets, shared: readonly string[] = []) {
    this.name = name;
    this.shared = shared;
    this.#trace = trace;
  }

  get targets(): Targets {
    return (this.#targets ??= this.#trace());
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

  #namesOf(op: "load" | "parameter"): string[] {
    const nodes = () => [...reached(Object.values(this.targets))].filter((node) => node.op === op);
    const found = this.#names.get(op) ?? nodes().map(({ data }) => String(data));
    this.#names.set(op, found);
    return found;
  }
}

/** Symbols of operands and parameters, by name. */
type Symbols<N extends string> = Readonly<Record<N, Node>>;

/** What kernels are declared by; inputs, y and its gradient dy are matrices of one shape. */
interface Declared<I extends string, P extends string, K extends string> {
  readonly name: string;
  readonly inputs: readonly I[];
  /** Those of them that are one row, which is every row's. */
  readonly shared?: readonly I[];
  /** A number that is known when it is recorded. */
  readonly parameter?: P;
  /** Functions of which an attribute `kind` chooses one: a kernel each. */
  readonly kinds?: readonly K[];
  readonly value: (symbols: Symbols<I | P | "y">, kind: K) => Node;
  /** ∂loss/∂input of each input, from dy = ∂loss/∂y; reads inputs or y. Without it there is no derivative. */
  readonly gradient?: (symbols: Symbols<I | P | "y" | "dy">, kind: K) => Readonly<Record<I, Node>>;
  /** What it is tried on: the largest number of each input, and the parameter. */
  readonly cases: readonly { readonly sizes: readonly number[]; readonly parameter?: number }[];
}

/** What is declared, and its kernels. */
export interface Rows<I extends string = string, P extends string = string, K extends string = string> extends Omit<
  Declared<I, P, K>,
  "value" | "gradient"
> {
  readonly kernels: readonly RowKernel[];
  /** The kernel of y, or of the gradients of these inputs, `dINPUT`. */
  kernel(kind?: K, wanted?: readonly I[]): RowKernel;
}

/** Declares kernels: of each kind the value, and the gradients of each set of inputs. */
export function rows<const I extends string, const P extends string = never, const K extends string = never>(
  declared: Declared<I, P, K>,
): Rows<I, P, K> {
  const { value, gradient, ...rest } = declared;
  const { name, inputs, kinds = [undefined] } = declared;
  const loads = [...inputs, "y", "dy"].map((operand) => [operand, node("load", [], operand)]);
  const number = declared.parameter;
  const symbols = Object.fromEntries([
    ...loads,
    ...(number === undefined ? [] : [[number, node("parameter", [], number)]]),
  ]) as Symbols<I | P | "y" | "dy">; // these names
  const keyOf = (kind: K | undefined, wanted?: readonly I[]) =>
    [name, kind, wanted && `gradient of ${wanted.join(" and ")}`].filter((part) => part !== undefined).join(", ");
  const sets = gradient === undefined ? [] : Array.from({ length: 2 ** inputs.length - 1 }, (_, set) => set + 1);
  const choices = [undefined, ...sets.map((set) => inputs.filter((_, at) => ((set >> at) & 1) === 1))];
  const kernels = kinds.flatMap((kind) =>
    choices.map((wanted) => {
      const trace = (): Targets => {
        const of = kind as K; // functions of one kind never look at it
        if (wanted === undefined || gradient === undefined) return { y: value(symbols, of) };
        const all = gradient(symbols, of);
        return Object.fromEntries(wanted.map((input) => [`d${input}`, all[input]]));
      };
      return new RowKernel(keyOf(kind, wanted), trace, declared.shared);
    }),
  );
  const byName = new Map(kernels.map((kernel) => [kernel.name, kernel]));
  // A value is asked for in every layer of every pass.
  const values = new Map(kinds.map((kind) => [kind, byName.get(keyOf(kind))]));
  return {
    ...rest,
    kernels,
    kernel(kind, wanted) {
      const found = wanted === undefined ? values.get(kind) : byName.get(keyOf(kind, wanted));
      if (found === undefined) throw new Error(`there is no row kernel ${keyOf(kind, wanted)}`);
      return found;
    },
  };
}
