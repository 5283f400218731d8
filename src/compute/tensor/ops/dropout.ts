import { dropoutFactor, type DropoutMask, dropoutScale } from "../../random/dropout.ts";
import { recordDropout } from "../dropout.ts";
import { at, defineOp, type Matrix, matrixOf } from "../op.ts";

/**
 * y = x · mask / (1 − rate): each element is dropped with the probability `rate` (Srivastava et al., JMLR 15, 2014). The
 * mask is a function of the attributes and of the element's row and column, so nothing of it is stored: the backward
 * pass, a segment that is recorded again, and a resumed run draw the same one.
 */
export const dropout = defineOp({ inputs: { x: "needed" }, outputs: { y: "needed" } })<DropoutMask>({
  name: "dropout",
  shape({ x }, { rate }) {
    dropoutScale(rate);
    return { y: { shape: x } };
  },
  forward(run, { x }, mask, { y }) {
    recordDropout(run, x, mask, y);
  },
  reference({ x }, mask) {
    return { y: masked(x, mask) };
  },
  derivative: {
    saves: () => [],
    backward(run, { gradients, into }, mask) {
      if (into.x !== undefined && gradients.y !== undefined) recordDropout(run, gradients.y, mask, into.x);
    },
    gradient: (_, mask, { y }) => ({ x: masked(y, mask) }),
  },
});

function masked(x: Matrix, mask: DropoutMask): Matrix {
  return matrixOf(...x.shape, (row, col) => at(x, row, col) * dropoutFactor(mask, row, col));
}
