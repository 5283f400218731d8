import * as v from "valibot";
import { RandloraError } from "../../../files/errors.ts";
import { loraConfig } from "../config.ts";
import { lowRankFlops } from "../../delta/low-rank/flops.ts";
import type { AdapterTraining } from "../../training/definition.ts";
import { targetSettings } from "../../training/existing.ts";
import { findTargets } from "../../base/target-modules.ts";
import { existingLora, type LoraSettings, newLora } from "./source.ts";
import { trainableLora } from "./trained.ts";

export const loraTraining: AdapterTraining<LoraSettings> = {
  result: "adapter",
  settings: {
    /** Scale α/√r instead of α/r. */
    rslora: v.boolean(),
  },
  usual: { rank: 8, alphaPerRank: 2, learningRate: 1e-4 },
  capacity: {
    setting: "rank",
    most: (modules) => Math.max(...modules.map(({ out, in: input }) => Math.min(out, input))),
    count: (modules, rank) => modules.reduce((sum, { out, in: input }) => sum + rank * (out + input), 0),
    flops: (modules, rank, _, tokens) => lowRankFlops(modules, rank, tokens),
  },
  resolve({ rslora = false, dora }: Partial<LoraSettings> & { readonly dora?: boolean }) {
    if (dora === true) {
      throw new RandloraError("usage", "--dora: LoRA with a magnitude is a method of its own", "give --method dora");
    }
    return { rslora };
  },
  initial(adapter) {
    const { r: rank, alpha, targets, rslora } = loraConfig(adapter);
    return { rank, alpha, ...targetSettings(targets), rslora };
  },
  async open({ base, model, seed }, settings, adapter) {
    const source =
      adapter === undefined
        ? newLora(settings, findTargets(base, settings), model)
        : await existingLora(adapter, base, settings);
    return trainableLora(source, { dropout: settings.dropout, seed });
  },
};
