import { at, defineOp, matrixOf, requireShapes, zeros } from "../op.ts";
import { recordCopy } from "../elementwise.ts";

/**
 * y[t] = scale · Σᵢ factors[t, i] · x[places[t, i]] + residual[t]: what the experts of each token gave, weighted. x (tokens · chosen,
 * cols) F32, factors and places (tokens, chosen), residual (tokens, cols). Each row of x has one place.
 */
export const mixRows = defineOp({
  inputs: { x: "needed", places: "needed", factors: "needed", residual: "optional" },
  outputs: { y: "needed" },
})<{ readonly scale: number }>({
  name: "mix-rows",
  shape({ x, places, factors, residual }) {
    const [tokens, each] = places;
    const fits =
      x[0] === tokens * each &&
      factors[0] === tokens &&
      factors[1] === each &&
      (residual === undefined || (residual[0] === tokens && residual[1] === x[1]));
    requireShapes("mix-rows", { x, places, factors, residual }, fits, "each row of x has a place and a factor");
    return { y: { shape: [tokens, x[1]] } };
  },
  forward(run, inputs, { scale }, { y }) {
    run.compute("mixRows", { ...inputs, scale, y });
  },
  reference({ x, places, factors, residual }, { scale }) {
    return {
      y: matrixOf(places.shape[0], x.shape[1], (row, col) => {
        let sum = 0;
        for (let i = 0; i < places.shape[1]; i++) sum += at(factors, row, i) * at(x, at(places, row, i), col);
        return scale * sum + (residual === undefined ? 0 : at(residual, row, col));
      }),
    };
  },
  derivative: {
    saves: (wanted) => [
      "places",
      ...(wanted.has("x") ? ["factors" as const] : []),
      ...(wanted.has("factors") ? ["x" as const] : []),
    ],
    backward(run, { inputs: { x, places, factors }, gradients: { y: dy }, into }, { scale }) {
      if (dy === undefined) return;
      if (into.x !== undefined) run.compute("spreadRows", { x: dy, places, factors, scale, y: into.x });
      if (into.factors !== undefined) run.compute("mixFactors", { dy, x, places, scale, y: into.factors });
      if (into.residual !== undefined) recordCopy(run, dy, into.residual);
    },
    gradient({ x, places, factors, residual }, { scale }, { y: dy }) {
      const dx = zeros(...x.shape);
      places.data.forEach((place, pair) => {
        const row = Math.floor(pair / places.shape[1]);
        for (let col = 0; col < x.shape[1]; col++) {
          dx.data[place * x.shape[1] + col] = scale * (factors.data[pair] ?? NaN) * at(dy, row, col);
        }
      });
      return {
        x: dx,
        factors: matrixOf(...factors.shape, (row, i) => {
          let sum = 0;
          for (let col = 0; col < x.shape[1]; col++) sum += at(dy, row, col) * at(x, at(places, row, i), col);
          return scale * sum;
        }),
        residual: residual && dy,
      };
    },
  },
});
