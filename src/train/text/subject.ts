import type { TrainingData } from "../../data/text/samples/load-run.ts";
import type { MicroBatch } from "../../data/text/samples/types.ts";
import { dataHash, planRun } from "./data.ts";
import { ModelSource } from "./model.ts";
import type { Subject } from "../model/subject.ts";

/** Texts, and the language models that are trained on them. */
export function textSubject(data: TrainingData): Subject<MicroBatch> {
  return {
    unit: "tokens",
    sampleFormat: data.train.format,
    dataHashes: () => ({ data: dataHash(data) }),
    plan: (settings, processes) => planRun(settings, data, processes),
    open: ModelSource.open,
  };
}
