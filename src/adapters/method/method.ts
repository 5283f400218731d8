import type { StdCache } from "../files/std-cache.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { BaseModel } from "../base/base.ts";
import type { AdapterContent } from "../files/content.ts";
import type { AdapterPlan, PlanOptions } from "./plan.ts";
import type { AdapterTraining, TrainingDefinition } from "./definition.ts";
import type { Adapter, WrittenSettings } from "../files/adapter.ts";

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
