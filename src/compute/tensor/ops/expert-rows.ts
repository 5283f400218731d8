import { at, defineOp, requireShapes, zeros } from "../op.ts";

/**
 * Rows for pairs of a token and an expert, ordered by expert and then by token: `places` (tokens, chosen) U32 is the row of
 * each pair, and those of expert e are begins[e] … begins[e + 1] − 1; begins (1, experts + 1) U32. experts (tokens, chosen)
 * U32, below the attribute.
 */
export const expertRows = defineOp({
  inputs: { experts: "needed" },
  outputs: { places: "needed", begins: "needed" },
})<{ readonly experts: number }>({
  name: "expert-rows",
  shape({ experts: chosen }, { experts }) {
    requireShapes("expert-rows", { experts: chosen }, experts >= 1, "there must be experts");
    return { places: { shape: chosen, dtype: "U32" }, begins: { shape: [1, experts + 1], dtype: "U32" } };
  },
  forward(run, { experts }, _, outputs) {
    run.compute("expertRows", { experts, ...outputs });
  },
  reference({ experts: chosen }, { experts }) {
    const order = Array.from(chosen.data.keys()).toSorted(
      (left, right) => (chosen.data[left] ?? NaN) - (chosen.data[right] ?? NaN) || left - right,
    );
    const places = zeros(...chosen.shape);
    order.forEach((pair, row) => (places.data[pair] = row));
    const begins = zeros(1, experts + 1);
    for (let expert = 0; expert <= experts; expert++) {
      begins.data[expert] = chosen.data.filter((one) => one < expert).length;
    }
    return { places, begins };
  },
  derivative: "constant",
});

/** y[places[t, i]] = x[t]: each token's row once for each of its experts. x (tokens, cols) F32, places of `expertRows`. */
export const spreadRows = defineOp({ inputs: { x: "needed", places: "needed" }, outputs: { y: "needed" } })<object>({
  name: "spread-rows",
  shape({ x, places }) {
    requireShapes("spread-rows", { x, places }, x[0] === places[0], "each row of x has a row of places");
    return { y: { shape: [places[0] * places[1], x[1]] } };
  },
  forward(run, { x, places }, _, { y }) {
    run.compute("spreadRows", { x, places, factors: undefined, scale: 1, y });
  },
  reference({ x, places }) {
    const [tokens, each] = places.shape;
    const y = zeros(tokens * each, x.shape[1]);
    places.data.forEach((to, pair) => {
      for (let col = 0; col < x.shape[1]; col++) {
        y.data[to * x.shape[1] + col] = at(x, Math.floor(pair / each), col);
      }
    });
    return { y };
  },
  derivative: {
    saves: () => ["places"],
    backward(run, { inputs: { places }, gradients: { y: x }, into: { x: y } }) {
      if (x === undefined || y === undefined) return;
      run.compute("mixRows", { x, places, factors: undefined, residual: undefined, scale: 1, y });
    },
    gradient({ x, places }, _, { y: dy }) {
      const dx = zeros(...x.shape);
      places.data.forEach((from, pair) => {
        const row = Math.floor(pair / places.shape[1]);
        for (let col = 0; col < x.shape[1]; col++) {
          const to = row * x.shape[1] + col;
          dx.data[to] = (dx.data[to] ?? NaN) + at(dy, from, col);
        }
      });
      return { x: dx };
    },
  },
});
