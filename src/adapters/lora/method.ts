import { oneLine } from "../../files/failure.ts";
import type { MethodDefinition } from "../method.ts";
import { planLoraAlone } from "./alone.ts";
import { parseLoraConfig } from "./config.ts";
import { convertLora } from "./convert.ts";
import { loraAdapterPlan } from "./deltas.ts";
import { planLora } from "./plan.ts";
import type { LoraSettings } from "./train/source.ts";
import { loraTraining } from "./train/training.ts";

/** LoRA (Hu et al., arXiv:2106.09685), rsLoRA and rank patterns among it. */
export const lora: MethodDefinition<LoraSettings> = {
  name: "lora",
  title: "LoRA",
  peftTypes: ["LORA"],
  isOwn: ({ use_dora }) => use_dora !== true,
  shared: [],
  check: (config, file) => void parseLoraConfig(config, file),
  plan(adapter, base, { generator, amongOthers = false }) {
    const unused = `${oneLine(adapter.path)} is a LoRA, which has no random bases: --generator has no effect`;
    return loraAdapterPlan(planLora(adapter, base), generator === undefined || amongOthers ? [] : [unused]);
  },
  planAlone: planLoraAlone,
  convert: convertLora,
  training: loraTraining,
};
