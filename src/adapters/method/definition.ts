import type * as v from "valibot";
import type { PlannedMatrix } from "../../models/tensor-plan.ts";
import type { BaseModel } from "../base/base.ts";
import type { Adapter } from "../files/adapter.ts";
import type { MethodChoices, Trainable } from "./training.ts";
import type { AdapterSettings, HeldDtype } from "./settings.ts";

/** What training knows of a method. The loop, its files and its settings ask this, and name no method. */
export type TrainingDefinition<Own extends object = object> = AdapterTraining<Own> | ModelTraining;

/** Training that adds to frozen weights. `Own`: the settings that this method has and others have not. */
export interface AdapterTraining<Own extends object = object> {
  /** What comes of a run, and the name of its folder there. */
  readonly result: "adapter";
  /** What its own settings may be in run.json. */
  readonly settings: v.ObjectEntries & { readonly [K in keyof Own]: v.GenericSchema<unknown, Own[K]> };
  readonly usual: UsualSettings;
  readonly capacity: Capacity<Own>;
  /** It adapts parameters of all experts of a layer, and routers as parameters; left out: single experts' matrices, and routers as modules. */
  readonly adaptsParameters?: true;
  /** ΔW has no factors: training forms it whole in each pass, and beside weights that stay what they are it is held in F32. */
  readonly formsWhole?: true;
  /**
   * Its own settings, with defaults for what was not given.
   * @throws RandloraError `usage` naming the flags of those that contradict each other, or that it has no meaning for
   */
  resolve(given: Partial<AdapterSettings & Own>): Own;
  /** What an adapter to go on from decides of a run; of what it leaves open, `given`. */
  initial(adapter: Adapter, given: Partial<Own>): Partial<AdapterSettings & Own>;
  /**
   * Opens and checks what is trained; no GPU is needed for it.
   * @param adapter the one to go on from, open until the run is over; undefined: a new one
   * @throws RandloraError `usage` where the targets match nothing, `adapter` where the adapter does not fit; the signal's
   *   reason when it is aborted
   */
  open(input: OpenInput, settings: AdapterSettings & Own, adapter: Adapter | undefined): Promise<Trainable>;
}

/** What a method takes where nothing else was said. */
export interface UsualSettings {
  readonly rank: number;
  /** The usual rank is at most `capacity.most` of the adapted layers. */
  readonly rankFits?: boolean;
  /** Null: the method has no α, and its runs record the rank as such (α/r = 1). */
  readonly alphaPerRank: number | null;
  readonly learningRate: number;
}

/** A method's number of trainable parameters, and which of its settings decides it. */
export interface Capacity<Own extends object = object> {
  /** The setting that a wish for more or fewer numbers turns. */
  readonly setting: "rank" | "bases";
  /** Its largest value that makes sense for these modules; Infinity where there is none. */
  most(modules: readonly ModuleShape[]): number;
  /** The numbers trained with the setting at `value`, and the others as given or at their defaults: of each module, and what all share. */
  count(modules: readonly ModuleShape[], value: number, given: Partial<AdapterSettings & Own>): number;
  /**
   * Floating-point operations that a step of one micro-batch of so many tokens takes for it, beside those of the frozen
   * layers: two a multiplication, elementwise work not counted.
   */
  flops(modules: readonly ModuleShape[], value: number, given: Partial<AdapterSettings & Own>, tokens: number): number;
}

/** An adapted linear layer: W is (out, in). */
export interface ModuleShape {
  readonly out: number;
  readonly in: number;
  /** There are as many such matrices, one of each expert; one where it is left out. */
  readonly experts?: number;
}

/** Training of the model's matrices themselves: the parameters have their labels. */
export interface ModelTraining {
  /** As above; a whole model is too large to be saved before the first step. */
  readonly result: "model";
  open(input: OpenInput): Promise<Trainable>;
}

/** What any method may need to know. */
export interface OpenInput {
  readonly base: BaseModel;
  /** The model's own matrices. */
  readonly matrices: readonly PlannedMatrix[];
  /** What the adapter's configuration calls the base. */
  readonly model: string;
  readonly dtype: HeldDtype;
  /** Seeds initial values and dropout. */
  readonly seed: number;
  /** What the method chose when the run began, for a resumed one. */
  readonly began: MethodChoices | undefined;
  readonly signal: AbortSignal | undefined;
}
