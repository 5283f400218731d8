import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import type { Adapter, WrittenSettings } from "../files/adapter.ts";
import { parseSettings, positiveInteger } from "../base/config-keys.ts";
import { loraConfig } from "../lora/config.ts";
import { lora } from "../lora/method.ts";
import { isConfigOf } from "../method/method.ts";
import { PEFT_TYPES, RANDLORA_KEYS, randloraConfig, type Variant } from "../randlora/config.ts";

/** Ours: PEFT has no adapters of two methods in one file, and refuses it. */
export const PEFT_TYPE = "RANDLORA_HYBRID";

/** RandLoRA's variants that can be a part: those that are sums over bases. */
export const HYBRID_VARIANTS = ["peft", "paper", "half-rank"] as const satisfies readonly Variant[];

/**
 * What the configuration has beside PEFT's keys for RandLoRA and for LoRA. Of those that both have, `r` is RandLoRA's, and
 * what says which modules are adapted holds for both.
 */
const SCHEMA = v.object({
  /** `r` of the LoRA. */
  lora_r: positiveInteger,
  /** What RandLoRA's own `peft_type` would say. */
  randlora_variant: v.picklist(HYBRID_VARIANTS, `it must be one of ${HYBRID_VARIANTS.join(", ")}`),
});

/** Checks the settings of both parts. @throws RandloraError `format`, `adapter` as each of them does */
export function checkHybrid({ settings, configFile }: WrittenSettings): void {
  const { lora_r: r, randlora_variant: variant } = parseSettings(SCHEMA, settings, configFile);
  randloraConfig({ settings: { ...settings, peft_type: PEFT_TYPES[variant] }, configFile });
  const { dora } = loraConfig({ settings: loraSettings(settings, r), configFile });
  if (!dora) return;
  const cause = `"use_dora" is set, and an adapter of two methods has no magnitudes`;
  throw new RandloraError(
    "adapter",
    `${oneLine(configFile)}: ${cause}`,
    "train it with --method dora, or RandLoRA with --dora",
  );
}

/** A hybrid adapter as the RandLoRA that is its one part: with the bases, and whatever is not the other's. */
export function randloraPart(adapter: Adapter): Adapter {
  const { settings, configFile } = adapter;
  const { randlora_variant: variant } = parseSettings(SCHEMA, settings, configFile);
  return partOf(adapter, { peft_type: PEFT_TYPES[variant] }, (name) => !isLoraTensor(name));
}

/** A hybrid adapter as the LoRA that is its other part: the factors alone. */
export function loraPart(adapter: Adapter): Adapter {
  const { settings, configFile } = adapter;
  const { lora_r: r } = parseSettings(SCHEMA, settings, configFile);
  const { config, ...part } = partOf(adapter, {}, isLoraTensor);
  return { ...part, config: loraSettings(config, r), settings: loraSettings(settings, r), bases: undefined };
}

/** Is this a LoRA, and not an adapter of both? */
export function isLoraAdapter({ config }: Adapter): boolean {
  const type = config["peft_type"];
  return typeof type === "string" && isConfigOf(lora, type, config);
}

/** Biases and modules that are saved whole are looked for beside RandLoRA's tensors. */
function loraSettings<T>(settings: Readonly<Record<string, T>>, r: number) {
  const shared = Object.entries(settings).filter(([key]) => !RANDLORA_KEYS.has(key) && !(key in SCHEMA.entries));
  const own = { peft_type: lora.peftTypes[0] ?? "", r, bias: "none", modules_to_save: null };
  return { ...Object.fromEntries(shared), ...own };
}

function partOf(adapter: Adapter, keys: JsonObject, has: (tensor: string) => boolean): Adapter {
  const { config, settings, tensors } = adapter;
  return {
    ...adapter,
    config: { ...config, ...keys },
    settings: { ...settings, ...keys },
    tensors: new Map([...tensors].filter(([name]) => has(name))),
  };
}

function isLoraTensor(name: string): boolean {
  return name.includes(".lora_");
}

/**
 * The configuration of both, of those of the parts, each of which may have been read from one of both. What it says of
 * modules is the LoRA's, which may have been there first.
 */
export function joinConfigs(randlora: JsonObject, factors: JsonObject, variant: Variant): JsonObject {
  const joined: JsonObject = {
    ...randlora,
    ...factors,
    ...Object.fromEntries(Object.entries(randlora).filter(([key]) => RANDLORA_KEYS.has(key))),
    bias: "none",
    lora_r: factors["r"] ?? null,
    peft_type: PEFT_TYPE,
    randlora_variant: variant,
  };
  // A resumed run writes them in the same order.
  return Object.fromEntries(Object.entries(joined).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
