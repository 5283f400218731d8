import { loraConfig } from "../adapters/lora/config.ts";
import { lora } from "../adapters/lora/method.ts";
import type { MethodDefinition } from "../adapters/method.ts";
import { methodOfAdapter } from "../adapters/methods.ts";
import { stat } from "node:fs/promises";
import { adapterFingerprint } from "../adapters/fingerprint.ts";
import { openAdapter } from "../adapters/open.ts";
import type { AdapterPlan } from "../adapters/plan.ts";
import { randloraConfig } from "../adapters/randlora/config.ts";
import { type BasesRecord, parseBasesRecord } from "../adapters/randlora/record.ts";
import type { TargetRules } from "../adapters/targets.ts";
import type { Adapter } from "../adapters/types.ts";
import { RandloraError } from "../errors.ts";
import { oneLine, quote } from "../files/failure.ts";
import type { RunFolder } from "./run-folder.ts";
import type { AdapterSettings, TrainSettings } from "./settings.ts";
import { newestState } from "./state.ts";

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
  const initSha256 = await adapterFingerprint(adapter);
  if (methodOfAdapter(adapter) === lora) {
    const { r: rank, alpha, targets, rslora } = loraConfig(adapter);
    return { method: "lora", rank, alpha, ...targetsOf(targets), rslora, initSha256 };
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
    initSha256,
    generator: record?.generator ?? generator ?? null,
  };
}

function targetsOf({ modules, layers }: TargetRules): Partial<AdapterSettings> {
  const targets = modules === null || typeof modules === "string" ? modules : [...modules];
  return { ...(targets === null ? {} : { targets }), layers: [...layers] };
}

/**
 * The settings of a run that is resumed, once it has a state: what it needs beside that (bases, targets, configuration)
 * its own adapter has, whatever became of the one that it began with.
 */
export async function withOwnAdapter(settings: TrainSettings, folder: RunFolder): Promise<TrainSettings> {
  const { adapter, method } = settings;
  if (adapter === null || adapter.initAdapter === null || (await newestState(folder.states)) === undefined) {
    return settings;
  }
  const own = folder.last(method);
  // Killed between its first state and its first adapter, it has none yet.
  if (!(await stat(own).then(Boolean, () => false))) return settings;
  return { ...settings, adapter: { ...adapter, initAdapter: own, initCommit: null, initSha256: null } };
}

/** Throws `RandloraError` "adapter" where the adapter is not the one that the run began with. */
export async function refuseChanged(adapter: Adapter, { initSha256 }: AdapterSettings): Promise<void> {
  if (initSha256 === null || (await adapterFingerprint(adapter)) === initSha256) return;
  const cause = "not the adapter that the run began with (--init-adapter)";
  throw new RandloraError("adapter", `${oneLine(adapter.path)}: ${cause}`, "put the old one back, or start a new run");
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
