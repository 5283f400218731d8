import type { DecoderConfig } from "../../models/decoder/config.ts";
import { recordTraining } from "../../models/decoder/training.ts";
import type { DecoderWeights } from "../../models/decoder/weights.ts";
import type { MicroBatch } from "../../data/text/samples/types.ts";
import type { Task } from "../model/task.ts";

/** The next token of each supervised one of a text: negative log-likelihoods. */
export function languageModelling(config: DecoderConfig, weights: DecoderWeights): Task<MicroBatch> {
  return {
    losses: (recorder, linears, batch, options) => recordTraining(recorder, config, weights, linears, batch, options),
    termsOf: ({ targets }) => targets.length,
    // Samples as long as the model takes them.
    probe({ tokens, targets }) {
      const ids = new Uint32Array(tokens);
      return {
        ids,
        positions: ids.map((_, at) => at % config.contextLength),
        starts: ids.map((_, at) => at - (at % config.contextLength)),
        rows: new Uint32Array(targets).map((_, at) => at),
        targets: new Uint32Array(targets),
        samples: 1,
      };
    },
  };
}
