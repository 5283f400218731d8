import { defineOp, type Matrix, requireShapes, zeros } from "../op.ts";

export interface GatedDeltaAttributes {
  readonly keyHeads: number;
}

/** Numbers of a head's key at most: kernels hold a column of a state. */
export const MOST_KEY_SIZE = 256;

/** Tokens after which a pass with gradients keeps a state. Longer blocks need fewer, but a GPU has two for each token of a block besides. */
function blockOf(tokens: number): number {
  return tokens <= 1024 ? 16 : tokens <= 4096 ? 32 : 64;
}

/**
 * The gated delta rule (Yang et al., arXiv:2412.06464), a linear attention. Of each head, and each token of a text in turn, with a state S
 * (value size, key size) that is 0 before the first: S ← αS, S ← S + β (v − Sk) kᵀ, y = S q / √(key size). β = σ(b) and
 * α = exp(−exp(log A) · softplus(a + bias)).
 *
 * qk (tokens, 2 · key heads · key size) has all queries and then all keys, v (tokens, heads · value size), gates (tokens, 2 · heads) b and then a,
 * decays (1, 2 · heads) log A and then the bias. A head of keys serves as many heads one after another as there are for each. `first`
 * (1, tokens) U32 is the row of a token's text that begins it; left out, all are one text. Decays have no gradient.
 */
export const gatedDelta = defineOp({
  inputs: { qk: "needed", v: "needed", gates: "needed", decays: "needed", first: "optional" },
  outputs: { y: "needed" },
})<GatedDeltaAttributes>({
  name: "gated-delta",
  shape({ qk, v, gates, decays, first }, { keyHeads }) {
    const heads = gates[1] / 2;
    const [keySize, valueSize] = [qk[1] / 2 / keyHeads, v[1] / heads];
    const fits =
      Number.isInteger(heads / keyHeads) &&
      [keySize, valueSize].every((size) => size > 0 && size % 4 === 0) &&
      keySize <= MOST_KEY_SIZE &&
      [qk, gates].every((operand) => operand[0] === v[0]) &&
      decays[0] === 1 &&
      decays[1] === gates[1] &&
      (first === undefined || (first[0] === 1 && first[1] === v[0]));
    const rule = `whole groups of heads, of a multiple of 4 numbers, keys of ${MOST_KEY_SIZE} at most`;
    requireShapes("gated-delta", { qk, v, gates, decays, first }, fits, rule);
    return { y: { shape: v } };
  },
  forward(run, inputs, { keyHeads }, { y }) {
    const nothingKept = { rows: undefined, firstPosition: 0, states: undefined };
    run.compute("gatedDelta", { ...inputs, ...nothingKept, keyHeads, block: blockOf(y.shape[0]), y });
  },
  reference(inputs, attributes) {
    const y = zeros(...inputs.v.shape);
    for (const head of headsOf(inputs, attributes)) {
      forwards(head).forEach(({ y: of }, token) => of.forEach((value, j) => (y.data[head.valueAt(token, j)] = value)));
    }
    return { y };
  },
  derivative: {
    saves: () => ["qk", "v", "gates", "decays", "first"],
    backward(run, { inputs, gradients: { y: dy }, into }, { keyHeads }) {
      if (dy === undefined) return;
      const { qk, v, gates } = inputs;
      const block = blockOf(v.shape[0]);
      const keySize = qk.shape[1] / 2 / keyHeads;
      const states = run.allocate("states", [Math.ceil(v.shape[0] / block), v.shape[1] * keySize]);
      const y = run.allocate("gated-delta.y", v.shape);
      const operands = { ...inputs, keyHeads, block, states };
      // They are computed again, since they are larger than all that a pass keeps besides.
      run.compute("gatedDelta", { ...operands, rows: undefined, firstPosition: 0, y });
      run.release(y);
      const [dqk, dv, dgates] = [
        into.qk ?? run.allocate("dqk", qk.shape),
        into.v ?? run.allocate("dv", v.shape),
        into.gates ?? run.allocate("dgates", gates.shape),
      ];
      run.compute("gatedDeltaGradient", { ...operands, dy, dqk, dv, dgates });
      run.release(states, ...[dqk, dv, dgates].filter((tensor) => !Object.values(into).includes(tensor)));
    },
    gradient(inputs, attributes, { y: dy }) {
      const { qk, v, gates } = inputs;
      const [dqk, dv, dgates] = [zeros(...qk.shape), zeros(...v.shape), zeros(...gates.shape)];
      for (const head of headsOf(inputs, attributes)) backwards(head, dy, { dqk, dv, dgates });
      return { qk: dqk, v: dv, gates: dgates };
    },
  },
});

/** The operands of the op, in f64. */
interface Matrices {
  readonly qk: Matrix;
  readonly v: Matrix;
  readonly gates: Matrix;
  readonly decays: Matrix;
  readonly first: Matrix | undefined;
}

/** What a head reads, and where. */
interface Head {
  readonly tokens: number;
  readonly sizes: readonly [key: number, value: number];
  readonly isFirst: (token: number) => boolean;
  readonly q: (token: number, i: number) => number;
  readonly k: (token: number, i: number) => number;
  readonly v: (token: number, j: number) => number;
  /** Indices of a token's numbers. */
  readonly queryAt: (token: number, i: number) => number;
  readonly keyAt: (token: number, i: number) => number;
  readonly valueAt: (token: number, j: number) => number;
  readonly betaAt: (token: number) => number;
  readonly decayAt: (token: number) => number;
  readonly beta: (token: number) => number;
  readonly left: (token: number) => number;
  /** Of the logarithm of what is left, by the gate. */
  readonly slope: (token: number) => number;
}

function headsOf({ qk, v, gates, decays, first }: Matrices, { keyHeads }: GatedDeltaAttributes): Head[] {
  const heads = gates.shape[1] / 2;
  const [keySize, valueSize] = [qk.shape[1] / 2 / keyHeads, v.shape[1] / heads];
  const [tokens, width] = qk.shape;
  const of = ({ data }: Matrix, at: number) => data[at] ?? NaN;
  return Array.from({ length: heads }, (_, head): Head => {
    const key = Math.floor((head * keyHeads) / heads) * keySize;
    const queryAt = (token: number, i: number) => token * width + key + i;
    const keyAt = (token: number, i: number) => queryAt(token, i) + width / 2;
    const valueAt = (token: number, j: number) => token * v.shape[1] + head * valueSize + j;
    const betaAt = (token: number) => token * 2 * heads + head;
    const decayAt = (token: number) => betaAt(token) + heads;
    const rate = Math.exp(of(decays, head));
    const x = (token: number) => of(gates, decayAt(token)) + of(decays, heads + head);
    return {
      tokens,
      sizes: [keySize, valueSize],
      isFirst: (token) => token === (first === undefined ? 0 : of(first, token)),
      q: (token, i) => of(qk, queryAt(token, i)) / Math.sqrt(keySize),
      k: (token, i) => of(qk, keyAt(token, i)),
      v: (token, j) => of(v, valueAt(token, j)),
      queryAt,
      keyAt,
      valueAt,
      betaAt,
      decayAt,
      beta: (token) => 1 / (1 + Math.exp(-of(gates, betaAt(token)))),
      left: (token) => Math.exp(-rate * Math.log1p(Math.exp(x(token)))),
      slope: (token) => -rate / (1 + Math.exp(-x(token))),
    };
  });
}

/** What a token does to a head's state: columns by j, numbers of a column by i. */
interface Step {
  readonly before: readonly Float64Array[];
  readonly after: readonly Float64Array[];
  /** v − Sk. */
  readonly rest: readonly number[];
  readonly y: readonly number[];
}

function forwards({ tokens, sizes: [keySize, valueSize], isFirst, q, k, v, beta, left }: Head): Step[] {
  const zero = Array.from({ length: valueSize }, () => new Float64Array(keySize));
  const steps: Step[] = [];
  for (let token = 0; token < tokens; token++) {
    const before = isFirst(token) ? zero : (steps.at(-1)?.after ?? zero);
    const rest = before.map((s, j) => v(token, j) - left(token) * dot(s, (i) => k(token, i)));
    const after = before.map((s, j) =>
      s.map((value, i) => left(token) * value + beta(token) * (rest[j] ?? NaN) * k(token, i)),
    );
    steps.push({ before, after, rest, y: after.map((s) => dot(s, (i) => q(token, i))) });
  }
  return steps;
}

function backwards(
  head: Head,
  { data: dy }: Matrix,
  { dqk, dv, dgates }: Readonly<Record<"dqk" | "dv" | "dgates", Matrix>>,
): void {
  const { tokens, sizes, isFirst, q, k, queryAt, keyAt, valueAt, betaAt, decayAt, beta, left, slope } = head;
  const [keySize, valueSize] = sizes;
  const steps = forwards(head);
  const ds = Array.from({ length: valueSize }, () => new Float64Array(keySize));
  const add = ({ data }: Matrix, at: number, value: number) => (data[at] = (data[at] ?? NaN) + value);
  for (let token = tokens - 1; token >= 0; token--) {
    const [b, a] = [beta(token), left(token)];
    ds.forEach((column, j) => {
      const [before, after, rest] = [steps[token]?.before[j], steps[token]?.after[j], steps[token]?.rest[j] ?? NaN];
      const out = dy[valueAt(token, j)] ?? NaN;
      column.forEach((value, i) => (column[i] = value + out * q(token, i)));
      const by = dot(column, (i) => k(token, i));
      add(dv, valueAt(token, j), b * by);
      add(dgates, betaAt(token), by * rest * b * (1 - b));
      column.forEach((value, i) => {
        const [old, next] = [before?.[i] ?? NaN, after?.[i] ?? NaN];
        add(dqk, queryAt(token, i), (out * next) / Math.sqrt(keySize));
        add(dqk, keyAt(token, i), b * rest * value - b * by * a * old);
        const through = value - b * by * k(token, i);
        add(dgates, decayAt(token), through * old * a * slope(token));
        column[i] = isFirst(token) ? 0 : a * through;
      });
    });
  }
}

function dot(column: Float64Array, by: (i: number) => number): number {
  return column.reduce((sum, value, i) => sum + value * by(i), 0);
}
