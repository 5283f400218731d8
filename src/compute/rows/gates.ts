import { abs, add, div, erf, exp, max, min, mul, neg, type Node, rows, sub, tanh, unless } from "./language.ts";

const sigmoid = (x: Node): Node => div(1, add(1, exp(neg(x))));
const [SCALE, CUBE] = [Math.sqrt(2 / Math.PI), 0.044715];
/** tanh(√(2/π) (x + 0.044715 x³)). */
const inner = (x: Node): Node => tanh(mul(SCALE, add(x, mul(mul(mul(CUBE, x), x), x))));
/** Φ(x), the share of a normal distribution below x. */
const below = (x: Node): Node => mul(0.5, add(1, erf(mul(x, Math.SQRT1_2))));
const slopeOfSilu = (x: Node, s: Node): Node => add(s, mul(mul(x, s), sub(1, s)));

/** Functions of one number by transformers' meaning of the names, and their slopes. */
const FUNCTIONS = {
  silu: { value: (x: Node) => div(x, add(1, exp(neg(x)))), slope: (x: Node) => slopeOfSilu(x, sigmoid(x)) },
  "gelu-tanh": {
    value: (x: Node) => mul(mul(0.5, x), add(1, inner(x))),
    slope(x: Node) {
      const t = inner(x);
      const along = mul(SCALE, add(1, mul(mul(3, CUBE), mul(x, x))));
      return add(mul(0.5, add(1, t)), mul(mul(mul(0.5, x), sub(1, mul(t, t))), along));
    },
  },
  gelu: {
    value: (x: Node) => mul(x, below(x)),
    slope: (x: Node) => add(below(x), mul(x, mul(0.3989422804014327, exp(mul(-0.5, mul(x, x)))))),
  },
  "quick-gelu": {
    value: (x: Node) => mul(x, sigmoid(mul(1.702, x))),
    slope: (x: Node) => slopeOfSilu(mul(1.702, x), sigmoid(mul(1.702, x))),
  },
  expm1: { value: (x: Node) => sub(exp(x), 1), slope: exp },
  sigmoid: { value: sigmoid, slope: (x: Node) => mul(sigmoid(x), sub(1, sigmoid(x))) },
};

/** All of these are 0 at 0: what lies between rows stays 0. */
export const ACTIVATIONS = ["silu", "gelu-tanh", "gelu", "quick-gelu"] as const;
export type Activation = (typeof ACTIVATIONS)[number];

/**
 * y = f(x): SiLU, GELU, or GELU by its approximations with tanh and with a sigmoid (quick GELU, CLIP's); expm1 is eˣ − 1,
 * which CLIP's scale of logits is made with.
 */
export const activation = rows({
  name: "activation",
  inputs: ["x"],
  kinds: [...ACTIVATIONS, "expm1"],
  value: ({ x }, kind) => FUNCTIONS[kind].value(x),
  gradient: ({ x, dy }, kind) => ({ x: mul(dy, FUNCTIONS[kind].slope(x)) }),
  cases: [{ sizes: [8] }],
});

/**
 * y = f(gate) · up: SwiGLU with SiLU, GeGLU with a GELU (Shazeer, arXiv:2002.05202), or with the logistic function for f, which
 * is not 0 at 0 and multiplies only.
 */
export const gatedActivation = rows({
  name: "gated-activation",
  inputs: ["gate", "up"],
  kinds: [...ACTIVATIONS, "sigmoid"],
  value: ({ gate, up }, kind) => mul(FUNCTIONS[kind].value(gate), up),
  gradient: ({ gate, up, dy }, kind) => ({
    gate: mul(mul(dy, FUNCTIONS[kind].slope(gate)), up),
    up: mul(dy, FUNCTIONS[kind].value(gate)),
  }),
  cases: [{ sizes: [8, 1] }],
});

/** How kernels that gate what they compute number them. */
export const gateNumber = (kind: Activation): number => gatedActivation.kinds?.indexOf(kind) ?? NaN;

/**
 * y = f(min(gate, limit)) · (1 + up within ±limit), where f(x) = x / (1 + exp(−1.702 x)): the gate of gpt-oss's experts
 * (transformers' modeling_gpt_oss.py, _apply_gate).
 */
export const clampedGate = rows({
  name: "clamped-gate",
  inputs: ["gate", "up"],
  parameters: ["limit"],
  value: ({ gate, up, limit }) => mul(clamped.value(min(gate, limit)), factor(up, limit)),
  gradient: ({ gate, up, limit, dy }) => ({
    gate: unless(mul(dy, mul(clamped.slope(gate), factor(up, limit))), limit, gate),
    up: unless(mul(dy, clamped.value(min(gate, limit))), limit, abs(up)),
  }),
  cases: [
    { sizes: [8, 5], numbers: { limit: 3 } },
    { sizes: [20, 1], numbers: { limit: 7 } },
  ],
});
const clamped = FUNCTIONS["quick-gelu"];
/** 1 + x within ±limit. */
const factor = (x: Node, limit: Node): Node => add(1, max(min(x, limit), neg(limit)));
