import { openAdapter } from "../adapters/open.ts";
import type { AdapterPlan } from "../adapters/plan-types.ts";
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
  const { kind: method, config } = adapter.method;
  const common = { rank: config.r, alpha: config.alpha, ...targetsOf(config.targets) };
  if (adapter.method.kind === "lora") return { method, ...common, rslora: adapter.method.config.rslora };
  const { key, sparsity } = adapter.method.config;
  const record = recordOf(adapter);
  return {
    method,
    ...common,
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

/** An adapter of another method than the run's. */
export function otherMethod(adapter: Adapter): RandloraError {
  const cause = `${oneLine(adapter.path)}: its method is ${adapter.method.kind}, which is not the run's`;
  return new RandloraError("adapter", cause, `give --method ${adapter.method.kind}`);
}
