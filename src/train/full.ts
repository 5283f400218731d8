import type { Gpu } from "../gpu/gpu.ts";
import type { DecoderConfig } from "../models/config.ts";
import { PLAIN_LINEARS } from "../models/linears.ts";
import { matrixLabel, matrixShape, plannedMatrices, planWeights } from "../models/weight-plan.ts";
import { DecoderWeights } from "../models/weights.ts";
import type { Checkpoint } from "../safetensors/checkpoint.ts";
import type { Method } from "./method.ts";
import { Parameters } from "./parameters.ts";
import type { TrainSettings } from "./settings.ts";
import { writeModel } from "./write-model.ts";

export interface FullOptions {
  readonly gpu: Gpu;
  readonly config: DecoderConfig;
  readonly checkpoint: Checkpoint;
  /** Of the model that is written. */
  readonly dtype: TrainSettings["dtype"];
  /** What a user should know of the base's files: one line each. */
  readonly notes: readonly string[];
}

/**
 * Trains every weight: the decoder's matrices are the parameters themselves, in F32. A tied embedding is one parameter,
 * to which both of its uses add their gradients. The weights are allocated, not yet read.
 */
export function createFull({ gpu, config, checkpoint, dtype, notes }: FullOptions): {
  method: Method;
  weights: DecoderWeights;
} {
  const matrices = plannedMatrices(planWeights(config));
  const parameters = new Parameters(
    gpu,
    matrices.map((planned) => ({ name: matrixLabel(planned), shape: matrixShape(planned) })),
  );
  const weights = DecoderWeights.allocate(gpu, checkpoint, config, {
    place: (label) => parameters.get(label).value,
  });
  const method: Method = {
    kind: "full",
    parameters,
    choices: {},
    summary: {
      trainableParameters: parameters.count,
      modules: matrices.map((planned) => {
        const [rows, cols] = matrixShape(planned);
        return { name: matrixLabel(planned), shape: [rows, cols], parameters: rows * cols };
      }),
      notes,
    },
    prepare() {},
    watched: () => parameters.all.map(({ value, gradient }) => ({ value, gradient })),
    linears: () => PLAIN_LINEARS,
    finish() {},
    save: (folder) => writeModel(gpu, folder, { checkpoint, tensors: weights.tensors, dtype }),
    release: () => parameters.release(),
  };
  return { method, weights };
}
