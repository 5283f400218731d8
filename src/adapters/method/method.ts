import type * as v from "valibot";
import type { PlannedMatrix } from "../../models/tensor-plan.ts";
import type { BaseModel } from "../base/base.ts";
import type { Adapter, AdapterContent, WrittenSettings } from "../files/adapter.ts";
import type { MethodChoices, Trainable } from "./training.ts";
import type { AdapterSettings, HeldDtype } from "./settings.ts";
import type { StdCache } from "../files/std-cache.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { AdapterPlan, PlanOptions } from "./plan.ts";

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
  /** The usual rank is one that the adapted layers can have: at most `capacity.most`, and with a finite count. */
  readonly rankFits?: boolean;
  /** Null: the method has no α, and its runs record the rank as such (α/r = 1). */
  readonly alphaPerRank: number | null;
  /** α, where it does not follow from the rank. */
  readonly alpha?: number;
  readonly learningRate: number;
}

/** A method's number of trainable parameters, and which of its settings decides it. */
export interface Capacity<Own extends object = object> {
  /** The setting that a wish for more or fewer numbers turns. */
  readonly setting: "rank" | "bases";
  /** Its largest value that makes sense for these modules; Infinity where there is none. */
  most(modules: readonly ModuleShape[]): number;
  /**
   * The numbers trained with the setting at `value`, and the others as given or at their defaults: of each module, and what
   * all share. Infinity where a module cannot have the value.
   */
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

/** A way to train a model. It is a folder of its own, a name in `method-names.ts` and a line in `methods.ts`. */
export interface TrainedMethod<Own extends object = object> {
  /** `--method`. */
  readonly name: string;
  /** As sentences have it. */
  readonly title: string;
  readonly training: TrainingDefinition<Own>;
}

/** A way to adapt a model: all that the program knows of it. Nothing else names a method. */
export interface MethodDefinition<Own extends object = object> extends TrainedMethod<Own> {
  readonly training: AdapterTraining<Own>;
  /** Other methods whose adapters a run can begin with (`--init-adapter`), where this one is asked for by name. */
  readonly beginsWith?: readonly MethodDefinition[];
  /** The `peft_type`s of its adapters; those that PEFT has first. */
  readonly peftTypes: readonly string[];
  /** Those of them that PEFT has not, and refuses; none where it is left out. */
  readonly ownTypes?: readonly string[];
  /** Tells its configurations from those of another method with the same `peft_type`; left out where there is none. */
  isOwn?(config: JsonObject): boolean;
  /** What PEFT warns of when it loads such a folder though nothing is wrong, for the folder's README.md; undefined: of nothing. */
  peftWarning?(content: AdapterContent): string | undefined;
  /** Tensors that all layers share. PEFT hangs them on its own wrapper (`base_model.NAME`), and copies on each layer. */
  readonly shared: readonly string[];
  /**
   * Checks an adapter's settings.
   * @throws RandloraError `format` for a value that makes no sense, `adapter` for a variant that cannot be applied
   */
  check(written: WrittenSettings): void;
  /**
   * Fits an adapter to a base; no tensor is read.
   * @throws RandloraError `adapter` with the reason when it cannot be applied, `usage` when `--generator` contradicts it
   */
  plan(adapter: Adapter, base: BaseModel, options: PlanOptions): AdapterPlan;
  /**
   * Fits an adapter to a base of which nothing is known, for a look at its ΔW; left out where its tensors do not give the
   * shapes of all W, or ΔW depends on W.
   * @throws RandloraError `adapter`, `format`
   */
  planAlone?(adapter: Adapter): AdapterPlan;
  /**
   * What is written of an adapter in another format, or the same.
   * @throws RandloraError `adapter` when something would be lost, `usage` for a wish that the method has no meaning for
   */
  convert(adapter: Adapter, wish: ConversionWish): Promise<ConvertedContent>;
}

/** Is this a configuration of the method's adapters? `type`: its `peft_type`. */
export function isConfigOf({ peftTypes, isOwn }: MethodDefinition, type: string, config: JsonObject): boolean {
  return peftTypes.includes(type) && (isOwn?.(config) ?? true);
}

/** Does PEFT have adapters with this configuration, which is one of the method's? */
export function isInPeft(
  { ownTypes = [] }: Pick<MethodDefinition, "ownTypes">,
  { peft_type: type }: JsonObject,
): boolean {
  return typeof type !== "string" || !ownTypes.includes(type);
}

/** What is asked of a conversion. */
export interface ConversionWish {
  readonly to: "peft" | "json";
  /** Write the random bases themselves; undefined: as the format has them by default. */
  readonly projections: boolean | undefined;
  /** Where measured standard deviations are kept; the user's cache by default. */
  readonly cache?: StdCache;
  /** Ends the drawing. */
  readonly signal?: AbortSignal;
}

/** An adapter as it will be written. */
export interface ConvertedContent {
  readonly content: AdapterContent;
  /** What draws the bases, where that is known. */
  readonly generator: GeneratorName | undefined;
  /** Whether the bases themselves are written. */
  readonly projections: boolean;
  readonly notes: readonly string[];
}
