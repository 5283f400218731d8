import type { Method, MethodChoices, MethodSummary, PlaceOptions } from "../../adapters/method/training.ts";
import type { LargestMicroBatch, StepPlan } from "../../data/batches/types.ts";
import type { Device } from "../../compute/device/device.ts";
import { Contradiction } from "../../files/errors.ts";
import type { Processes } from "../../mpi/processes.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import type { SampleFormat } from "../../data/text/samples/types.ts";
import type { Task } from "./task.ts";
import type { TrainingDefinition } from "../../adapters/method/method.ts";
import type { Parameters } from "../../adapters/method/parameters.ts";
import type { TrainSettings } from "../settings/settings.ts";
import type { Unit } from "../types.ts";

/** SHA-256 of all samples, training and validation: a resumed run must see the same ones. */
export interface DataHashes {
  /** Of texts: all of them. Of images: all that is known before one is read. */
  readonly data: string;
}

/** What a run trains on: its data, and the models that can be trained on them. The loop knows no more of either. */
export interface Subject<Batch> {
  readonly unit: Unit;
  /** How its samples are written out, which the run records; null: images. */
  readonly sampleFormat: SampleFormat | null;
  dataHashes(): DataHashes;
  /** The steps that settings make of the data, and what of each is this process's, where several share them. */
  plan(settings: TrainSettings, processes?: Processes): RunPlan<Batch>;
  /** Opens the model of the settings. @throws RandloraError as it says itself; the signal's reason when it is aborted */
  open(settings: TrainSettings, location: ModelLocation, options: OpenOptions): Promise<TrainingSource<Batch>>;
}

/** Steps of a run, and the validation set as steps of one micro-batch each. */
export interface RunPlan<Batch> {
  readonly steps: StepPlan<Batch>;
  readonly validation: StepPlan<Batch> | undefined;
}

export interface OpenOptions {
  /** What the method chose when the run began, for a resumed one. */
  readonly began?: MethodChoices | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What a model is trained from, beside the GPU: opened and checked once, placed on as many GPUs as one likes (a counting
 * one first). Close it after the last save: where a whole model is written, files are copied from it.
 */
export interface TrainingSource<Batch> extends AsyncDisposable {
  readonly settings: TrainSettings;
  /** Bytes of the checkpoint: what `fill` of a placed model reads. */
  readonly bytes: number;
  /** What makes a micro-batch of such data smaller, for hints. */
  readonly smaller: string;
  /** Tells the base from another under the same name. @throws RandloraError `file` */
  fingerprint(): Promise<string>;
  /** Rows that the layers see at once, of a micro-batch of this size. */
  rowsOf(size: LargestMicroBatch): number;
  /** Allocates parameters and weights. @throws RandloraError `model`, `memory` */
  place(gpu: Device, place: PlaceOptions): Promise<PlacedSource<Batch>>;
}

/** A model that is trained: its task, and how its weights depend on parameters. */
export interface TrainedModel<Batch> {
  readonly task: Task<Batch>;
  /** All that is trained. */
  readonly parameters: Parameters;
  readonly method: Method;
  readonly result: TrainingDefinition["result"];
  readonly summary: MethodSummary;
  /** Computes what depends on the frozen weights alone, once these have been read. @throws RandloraError `memory`, `gpu` */
  begin?(): Promise<void>;
  /** Writes the adapter's (or the model's) files into an empty folder. @throws RandloraError `file`, `gpu` */
  save(folder: string): Promise<void>;
}

/** A model in GPU memory, which is given back when it is disposed of. */
export interface PlacedSource<Batch> extends TrainedModel<Batch>, Disposable {
  /** Reads the weights, and computes what depends on them alone. @param onBytes told of bytes that were read */
  fill(onBytes?: (bytes: number) => void, signal?: AbortSignal): Promise<void>;
}

/**
 * Refuses to resume a run with fewer steps than it had, or as many.
 * @throws RandloraError `usage`
 */
export function refuseShorter<Batch>(recorded: TrainSettings, settings: TrainSettings, subject: Subject<Batch>): void {
  if (settings.steps === null || settings.steps === recorded.steps) return;
  const { length } = subject.plan(recorded).steps;
  if (settings.steps > length) return;
  const cause = `--steps ${settings.steps}: the run cannot be resumed with fewer steps than it had; it had ${length}`;
  throw new Contradiction(["steps", "resume"], cause, "leave --steps out, or start a new run");
}
