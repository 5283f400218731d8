import { PLAIN_LINEARS } from "../../models/blocks/linears.ts";
import { isTrained, matrixLabel, matrixShape } from "../../models/tensor-plan.ts";
import type { TrainedMethod } from "../method/method.ts";
import type { Placement } from "../method/training.ts";

/**
 * Trains every weight: the model's matrices are the parameters themselves, in F32. A tied embedding is one parameter,
 * to which both of its uses add their gradients.
 */
export const full: TrainedMethod = {
  name: "full",
  title: "all weights",
  training: {
    result: "model",
    async open({ matrices }) {
      const parameters = matrices.filter(isTrained).map((planned) => ({
        name: matrixLabel(planned),
        shape: matrixShape(planned),
      }));
      return {
        parameters,
        modules: parameters.map(({ name, shape: [rows, cols] }) => {
          return { name, shape: [rows, cols], parameters: rows * cols };
        }),
        notes: [],
        place: async ({ parameters: placed }: Placement) => ({
          choices: {},
          prepare() {},
          watched: () => parameters.map(({ name }) => placed.get(name)),
          linears: () => PLAIN_LINEARS,
          finish() {},
        }),
      };
    },
  },
};
