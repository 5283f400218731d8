import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { AdapterPlan } from "./plan.ts";
import type { TargetRules } from "../base/targets.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { Adapter } from "../files/adapter.ts";
import { readAllValues } from "../files/values.ts";
import type { FittedLayer } from "./fit.ts";
import type { AdapterTraining } from "./method.ts";
import type { AdapterSettings } from "./settings.ts";

/** The settings for what an adapter's configuration says of its targets. */
export function targetSettings({ modules, layers }: TargetRules): Partial<AdapterSettings> {
  const targets = modules === null || typeof modules === "string" ? modules : [...modules];
  return { ...(targets === null ? {} : { targets }), layers: [...layers] };
}

/**
 * An adapter to go on from, fitted to the base, checked. Numbers that are not finite are refused here, and not when the
 * model is in memory. @throws RandloraError `numeric`, and `adapter` as {@link refuseMore}
 */
export async function openExisting<P extends ExistingPlan>(plan: P, rules: { parameters?: boolean } = {}): Promise<P> {
  refuseMore(plan, rules);
  for (const { tensors } of plan.layers) await readAllValues(plan.adapter, tensors);
  return plan;
}

interface ExistingLayers extends Pick<AdapterPlan, "adapter" | "replacements" | "layers"> {
  readonly experts?: readonly { readonly prefix: string }[];
}

/** What is asked of a plan for that. */
export interface ExistingPlan extends ExistingLayers {
  readonly layers: readonly FittedLayer[];
}

/**
 * Throws `RandloraError` "adapter" for one that holds more than can be trained: whole modules, an output embedding, and parameters
 * of all experts of a layer where the method does not say that it trains them.
 */
export function refuseMore(
  { adapter, replacements, layers, experts: factors = [] }: ExistingLayers,
  { parameters = false }: { readonly parameters?: boolean } = {},
): void {
  const [replacement] = replacements;
  const [parameter] = factors;
  if (parameter !== undefined && !parameters) {
    const cause = `it changes ${quote(parameter.prefix)}: parameters of all experts are adapted by LoRA alone`;
    throw new RandloraError("adapter", `${oneLine(adapter.path)}: ${cause}`, "merge it, and train a new adapter");
  }
  const head = layers.find(({ tensor, source }) => tensor !== source || tensor.startsWith("lm_head."));
  const what = replacement?.tensor ?? head?.tensor;
  if (what === undefined) return;
  const cause = `it changes ${quote(what)}, which cannot be trained beside the adapter's parameters yet`;
  throw new RandloraError("adapter", `${oneLine(adapter.path)}: ${cause}`, "merge it, and train a new adapter");
}

/**
 * The settings that an adapter has when it is used as it is: products go through the factors, nothing is dropped.
 * @throws RandloraError `usage` where `generator` contradicts it
 */
export function settingsAsIs(
  training: AdapterTraining,
  adapter: Adapter,
  generator: GeneratorName | undefined,
): AdapterSettings {
  const initial = training.initial(adapter, { generator });
  // It has one order of products, and is refused beside another.
  const given = { generator, ...("variant" in initial && initial.variant === "rank-r" ? {} : { compute: "factored" }) };
  const { rank } = training.usual;
  const common = { rank, alpha: rank, targets: [], layers: [], initAdapter: null, initCommit: null, initSha256: null };
  return { ...common, ...initial, dropout: 0, ...training.resolve({ ...given, ...initial }) };
}
