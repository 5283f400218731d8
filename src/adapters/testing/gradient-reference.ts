import type { Bases } from "../frozen/drawing/bases.ts";
import { itemAt } from "../../files/item-at.ts";
import { type DeltaLayer, deltaReference } from "../delta/scaled-bases/delta.ts";
import { readElement } from "../../compute/device/matrix-storage.ts";
import { pairOf } from "../../compute/device/pairing.ts";

/** What an adapter adds to a linear layer, and how the loss depends on that. Matrices are row-major, without gaps. */
export interface AdapterPass {
  /** Tokens. */
  readonly tokens: number;
  /** x (tokens, in). */
  readonly x: ArrayLike<number>;
  /** ∂loss/∂y (tokens, out). */
  readonly dy: ArrayLike<number>;
  /** What dropout multiplies x by, element by element: 0 or 1/(1 − p). Nothing is dropped where it is left out. */
  readonly mask?: ArrayLike<number>;
}

/** Gradients of the loss, in f64. */
export interface AdapterGradients {
  /** ∂loss/∂λ (r, n). */
  readonly lambda: Float64Array;
  /** ∂loss/∂γ (n, m). */
  readonly gamma: Float64Array;
  /** The adapter's share of ∂loss/∂x (tokens, in). */
  readonly x: Float64Array;
}

/** The adapter's share of y (tokens, out): (x ∘ mask) ΔWᵀ, in f64. */
export function adapterOutput(bases: Bases, layer: DeltaLayer, pass: Omit<AdapterPass, "dy">): Float64Array {
  const { out, in: input } = layer.shape;
  const delta = deltaReference(bases, layer);
  const y = new Float64Array(pass.tokens * out);
  for (let t = 0; t < pass.tokens; t++) {
    for (let o = 0; o < out; o++) {
      let sum = 0;
      for (let i = 0; i < input; i++) sum += masked(pass, t * input + i) * itemAt(delta, o * input + i);
      y[t * out + o] = sum;
    }
  }
  return y;
}

/**
 * The gradients of a module in double precision: G = ∂loss/∂ΔW oriented (M, m), dŜ = scale · B̂ᵀG, then
 * dλ[k,j] = Σ_c dŜ[q,c]·A[k,c]·γ[j,c] and dγ[j,c] = Σ_k dŜ[q,c]·λ[k,j]·A[k,c], where q is the row of Ŝ that holds
 * λ[k,j]·A[k]⊙γ[j]. The yardstick for the kernels; slow.
 */
export function adapterGradients(bases: Bases, layer: DeltaLayer, pass: AdapterPass): AdapterGradients {
  const { shape, scale, pairing } = layer;
  const { out, in: input, rows, cols, bases: n, r, terms, tall } = shape;
  const g = new Float64Array(rows * cols);
  for (let t = 0; t < pass.tokens; t++) {
    for (let o = 0; o < out; o++) {
      const gradient = itemAt(pass.dy, t * out + o);
      for (let i = 0; i < input; i++) {
        const at = tall ? o * cols + i : i * cols + o;
        g[at] = itemAt(g, at) + gradient * masked(pass, t * input + i);
      }
    }
  }
  const lambda = new Float64Array(r * n);
  const gamma = new Float64Array(n * cols);
  for (let q = 0; q < terms; q++) {
    const { k, j } = pairOf(pairing, q, r, n);
    for (let c = 0; c < cols; c++) {
      let ds = 0;
      for (let o = 0; o < rows; o++) ds += readElement(bases.b, o, q) * itemAt(g, o * cols + c);
      const part = scale * ds * readElement(bases.a, k, c);
      lambda[k * n + j] = itemAt(lambda, k * n + j) + part * itemAt(layer.gamma, j * cols + c);
      gamma[j * cols + c] = itemAt(gamma, j * cols + c) + part * itemAt(layer.lambda, k * n + j);
    }
  }
  return { lambda, gamma, x: inputGradient(bases, layer, pass) };
}

function inputGradient(bases: Bases, layer: DeltaLayer, pass: AdapterPass): Float64Array {
  const { out, in: input } = layer.shape;
  const delta = deltaReference(bases, layer);
  const dx = new Float64Array(pass.tokens * input);
  for (let t = 0; t < pass.tokens; t++) {
    for (let i = 0; i < input; i++) {
      let sum = 0;
      for (let o = 0; o < out; o++) sum += itemAt(pass.dy, t * out + o) * itemAt(delta, o * input + i);
      dx[t * input + i] = sum * kept(pass.mask, t * input + i);
    }
  }
  return dx;
}

function masked({ x, mask }: Omit<AdapterPass, "dy">, at: number): number {
  return itemAt(x, at) * kept(mask, at);
}

/** What dropout multiplies an input by. */
function kept(mask: AdapterPass["mask"], at: number): number {
  return mask === undefined ? 1 : itemAt(mask, at);
}
