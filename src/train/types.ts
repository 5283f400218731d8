/** One optimizer step, as a line of metrics.jsonl: the keys are those of docs/interface.md. */
export interface StepMetrics {
  /** From 1. */
  readonly step: number;
  /** Mean over the step's supervised tokens, or images, in nats, before the update. */
  readonly loss: number;
  readonly learning_rate: number;
  /** The gradients' global norm before clipping. */
  readonly grad_norm: number;
  /** Supervised tokens of this step, or images. */
  readonly tokens: number;
  /** Wall-clock time of this step. */
  readonly seconds: number;
  /** When the line was written, in seconds since 1970; runs of earlier versions have none. */
  readonly time?: number;
}

/** One pass over the validation set, as a line of metrics.jsonl. */
export interface EvaluationMetrics {
  /** Steps done before it; 0: before the first. */
  readonly step: number;
  /** Mean over all supervised tokens of the set, or over its images, in nats. */
  readonly valid_loss: number;
  /** The part of the images that are taken for what they are; of tasks that tell classes apart. */
  readonly valid_accuracy?: number;
  /** As of steps. */
  readonly time?: number;
}

export type Metrics = StepMetrics | EvaluationMetrics;

/** What is trained on. */
export type Unit = "tokens" | "images";

/** What a run is about to do: known once model, data and method are ready. */
export interface RunStart {
  /** The run folder. */
  readonly run: string;
  /** Steps done before (a resumed run), and of the whole run. */
  readonly step: number;
  readonly steps: number;
  readonly epochs: number;
  /** What a step's `tokens` are. */
  readonly unit: Unit;
  readonly trainableParameters: number;
  readonly estimatedGpuBytes: number;
  /** Steps between validations; undefined without any. */
  readonly validateEvery?: number | undefined;
  /** Activations are recomputed in the backward pass instead of kept. */
  readonly checkpointing: boolean;
}

/** What a run does between steps. */
export type Pause = "validating" | "saving" | "measuring forgetting";

/** Told by the loop what happens; everything that a user sees of a run comes from here. Calls must be quick. */
export interface TrainObserver {
  /** Something that the user should know: one line. */
  warn(message: string): void;
  /** Bytes of the model's weights that have been read. */
  loading(read: number, total: number): void;
  start(run: RunStart): void;
  /** A step is done; arrives while the next one is computed already. */
  step(metrics: StepMetrics, memory: { readonly gpuBytes: number; readonly totalTokens: number }): void;
  /** Something begins between two steps (`done` 0), or goes on. */
  pause(what: Pause, done: number, total: number): void;
  /** `best`: the lowest so far. */
  evaluation(metrics: EvaluationMetrics, best: boolean): void;
  /** A state that can be resumed from is on the disk, and the adapter beside it. */
  saved(step: number): void;
}

/** Why a run ended. `failed` runs throw instead. */
export type Ending = "finished" | "early-stop" | "interrupted";
