import type { StepPlan } from "../../data/batches/types.ts";
import type { Device } from "../../compute/device/device.ts";
import type { Engine } from "./engine.ts";
import type { TrainedModel } from "../model/subject.ts";
import type { RunFolder } from "../run/run-folder.ts";
import type { Processes } from "../../mpi/processes.ts";
import type { TrainSettings } from "../settings/settings.ts";
import type { Progress } from "../../models/folder/run-states.ts";
import type { Ending } from "../types.ts";

/** A run that is ready to go: everything opened, loaded, and where resumed, put back to its last state. */
export interface TrainJob<Batch> {
  readonly gpu: Device;
  readonly settings: TrainSettings;
  readonly folder: RunFolder;
  readonly engine: Engine<Batch>;
  readonly model: TrainedModel<Batch>;
  readonly steps: StepPlan<Batch>;
  /** The validation set, each of its tokens once; undefined without one. */
  readonly validation: StepPlan<Batch> | undefined;
  /** Where the run stands: `step` 0 and nothing else for a new one. */
  readonly progress: Progress;
  /** Is that a state on the disk? */
  readonly resumed: boolean;
  /** Those that share it; by default one alone. The first writes what there is to write. */
  readonly processes?: Processes;
}

/** Where a run ended, and why. */
export interface TrainOutcome {
  readonly ending: Ending;
  readonly progress: Progress;
}
