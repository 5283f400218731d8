import { recordZero } from "../../compute/tensor/fill.ts";
import type { Run } from "../../compute/tensor/run.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import { moveStrided, partFrom } from "../formula/formula.ts";

/** Rᵀ − I as a function of the skew P = −Q: blocks (b, b), one below the other. */
export interface Turn {
  /** Column k of one block, in f64; `p`: an element of P. */
  column(b: number, p: (row: number, col: number) => number, k: number): number[];
  /** Records its value, which `fold` then takes ∂loss of, to add to ∂loss/∂P. */
  of(on: Blocks, p: Tensor): { readonly value: Tensor; fold(turned: Tensor, dp: Tensor): void };
}

/** Products of blocks, block by block. Tensors that it allocates are released together. */
export class Blocks {
  readonly #run: Run;
  readonly #begins: Tensor;
  readonly #allocated: Tensor[] = [];
  readonly b: number;
  readonly count: number;

  constructor(run: Run, count: number, b: number) {
    [this.#run, this.count, this.b] = [run, count, b];
    this.#begins = run.upload(
      "begins",
      [1, count + 1],
      Uint32Array.from({ length: count + 1 }, (_, n) => n * b),
    );
  }

  zeros(): Tensor {
    const made = this.#run.allocate("OFT's blocks", [this.count * this.b, this.b]);
    this.#allocated.push(made);
    recordZero(this.#run, made);
    return made;
  }

  /** A new a · b, or one of their transposes. */
  product(order: "NN" | "NT" | "TN", a: Tensor, b: Tensor): Tensor {
    const y = this.zeros();
    this.#run.compute("groupedGemm", { order, a, b, begins: this.#begins, y });
    return y;
  }

  /** y += scale · x */
  add(x: Tensor, y: Tensor, scale = 1): void {
    moveStrided(this.#run, x, { row: x.pitch, col: 1 }, y, { scale });
  }

  /** y += scale · xᵀ */
  addTransposed(x: Tensor, y: Tensor, scale = 1): void {
    const { b } = this;
    for (let row = 0; row < this.count * b; row += b) {
      moveStrided(this.#run, partFrom(x, row, 0), { row: 1, col: x.pitch }, partFrom(y, row, 0, [b, b]), { scale });
    }
  }

  identity(): Tensor {
    const { count, b } = this;
    const ones = Float32Array.from({ length: count * b * b }, (_, at) => Number(Math.floor(at / b) % b === at % b));
    const [own, uploaded] = [this.zeros(), this.#run.upload("ones", [1, count * b * b], ones)];
    moveStrided(this.#run, uploaded, { row: b, col: 1 }, own);
    return own;
  }

  release(): void {
    this.#run.release(...this.#allocated.splice(0));
  }
}

/** 2P + 2P² + … + Pᵈ: V₁ of Vₖ = P (cₖ + Vₖ₊₁). PEFT ends three terms where it ends four. */
export function neumann(terms: number): Turn {
  const degree = terms === 2 ? 1 : Math.max(3, terms - 1);
  const factor = (k: number) => (k === degree && degree > 1 ? 1 : 2);
  return {
    column(b, p, k) {
      let v = Array.from({ length: b }, () => 0);
      for (let at = degree; at >= 1; at--) {
        const s = v.map((value, i) => value + (i === k ? factor(at) : 0));
        v = s.map((_, j) => s.reduce((sum, value, i) => sum + p(j, i) * value, 0));
      }
      return v;
    },
    of(on, p) {
      const v: Tensor[] = [];
      for (let k = degree; k >= 1; k--) {
        const [later] = v;
        const own = later === undefined ? on.zeros() : on.product("NN", p, later);
        on.add(p, own, factor(k));
        v.unshift(own);
      }
      return {
        value: itemAt(v, 0),
        fold(turned, dp) {
          let dv = turned;
          for (let k = 1; k <= degree; k++) {
            on.add(dv, dp, factor(k));
            const later = v[k];
            if (later === undefined) continue;
            on.add(on.product("NT", dv, later), dp);
            dv = on.product("TN", p, dv);
          }
        },
      };
    },
  };
}

/** From 1/2¹² · (I + P)ᵀ, these double what is right of an inverse: enough for ‖P‖ up to 90, beyond which they end in infinity. */
const DOUBLINGS = 18;

/** (I − P)(I + P)⁻¹ − I = 2 (M − I), M = (I + P)⁻¹, by Newton's iteration M ← M (2 − (I + P) M). */
export const cayley: Turn = {
  column(b, p, k) {
    // Elimination without exchanges: 1 + P has a positive definite symmetric part.
    const rows = Array.from({ length: b }, (_, i) =>
      Float64Array.from({ length: b + 1 }, (_, j) => (j === b ? Number(i === k) : p(i, j) + Number(i === j))),
    );
    rows.forEach((pivot, at) => {
      rows.forEach((row, other) => {
        if (other === at) return;
        const factor = itemAt(row, at) / itemAt(pivot, at);
        for (let j = at; j <= b; j++) row[j] = itemAt(row, j) - factor * itemAt(pivot, j);
      });
    });
    return rows.map((row, i) => 2 * (itemAt(row, b) / itemAt(row, i) - Number(i === k)));
  },
  of(on, p) {
    const one = on.identity();
    let m = on.zeros();
    on.add(one, m, 2 ** -12);
    on.add(p, m, -(2 ** -12));
    for (let step = 0; step < DOUBLINGS; step++) {
      const left = on.product("NN", p, m);
      on.add(m, left);
      const next = on.zeros();
      on.add(m, next, 2);
      on.add(on.product("NN", m, left), next, -1);
      m = next;
    }
    const value = on.zeros();
    on.add(m, value, 2);
    on.add(one, value, -2);
    return { value, fold: (turned, dp) => on.add(on.product("TN", m, on.product("NT", turned, m)), dp, -2) };
  },
};
