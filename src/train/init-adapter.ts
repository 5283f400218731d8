import { loraConfig } from "../adapters/lora/config.ts";
import { lora } from "../adapters/lora/method.ts";
import type { MethodDefinition } from "../adapters/method.ts";
import { methodOfAdapter } from "../adapters/methods.ts";
import { openAdapter } from "../adapters/open.ts";
import type { AdapterPlan } from "../adapters/plan.ts";
import { randloraConfig } from "../adapters/randlora/config.ts";
import { type BasesRecord, parseBasesRecord } from "../adapters/randlora/record.ts";
import type { TargetRules } from "../adapters/targets.ts";
import type { Adapter } from "../adapters/types.ts";
import { RandloraError } from "../errors.ts";
import { oneLine, quote } from "../safetensors/failure.ts";
import type { AdapterSettings, TrainSettings } from "./settings.ts";

/** What an adapter to go on from (`--init-adapter`) decides of a run. */
export type InitialSettings = Partial<AdapterSettings> & Pick<TrainSettings, "method">;

/**
 * Reads what an adapter to go on from decides of a run's settings. `generator`: what the user says drew its bases.
 * Throws `RandloraError` "file", "format" or "adapter".
 */
export async function initialSettings(
  path: string,
  generator: AdapterSettings["generator"] | undefined,
): Promise<InitialSettings> {
  await using adapter = await openAdapter(path);
  if (methodOfAdapter(adapter) === lora) {
    const { r: rank, alpha, targets, rslora } = loraConfig(adapter);
    return { method: "lora", rank, alpha, ...targetsOf(targets), rslora };
  }
  const { r: rank, alpha, targets, key, sparsity } = randloraConfig(adapter);
  const record = recordOf(adapter);
  return {
    method: "randlora",
    rank,
    alpha,
    ...targetsOf(targets),
    variant: record?.pairing ?? "peft",
    sparsity,
    basisSeed: String(key),
    generator: record?.generator ?? generator ?? null,
  };
}

function targetsOf({ modules, layers }: TargetRules): Partial<AdapterSettings> {
  const targets = modules === null || typeof modules === "string" ? modules : [...modules];
  return { ...(targets === null ? {} : { targets }), layers: [...layers] };
}

/** What an adapter records of its random bases. */
export function recordOf(adapter: Adapter): BasesRecord | undefined {
  return adapter.bases === undefined ? undefined : parseBasesRecord(adapter.bases, adapter.file);
}

/** Throws `RandloraError` "adapter" for one that holds more than can be trained: whole modules, an output embedding. */
export function refuseMore({
  adapter,
  replacements,
  layers,
}: Pick<AdapterPlan, "adapter" | "replacements" | "layers">): void {
  const [replacement] = replacements;
  const head = layers.find(({ tensor, source }) => tensor !== source || tensor.startsWith("lm_head."));
  const what = replacement?.tensor ?? head?.tensor;
  if (what === undefined) return;
  const cause = `it changes ${quote(what)}, which cannot be trained beside the adapter's parameters yet`;
  throw new RandloraError("adapter", `${oneLine(adapter.path)}: ${cause}`, "merge it, and train a new adapter");
}

/** Throws `RandloraError` "adapter" for an adapter of another method than the run's. */
export function requireMethod(adapter: Adapter, method: MethodDefinition): void {
  const { name } = methodOfAdapter(adapter);
  if (name === method.name) return;
  const cause = `${oneLine(adapter.path)}: its method is ${name}, which is not the run's`;
  throw new RandloraError("adapter", cause, `give --method ${name}`);
}
