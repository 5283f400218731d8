import { RandloraError } from "../errors.ts";
import { oneLine, quote } from "../safetensors/failure.ts";
import { type JsonObject, toPlain } from "./lossless-json.ts";
import { type LoraConfig, parseLoraConfig } from "./lora/config.ts";
import { parseRandloraConfig, type RandloraConfig } from "./randlora/config.ts";

/** What an adapter is: a method with its checked settings. One member a method. */
export type AdapterMethod =
  | { readonly kind: "randlora"; readonly config: RandloraConfig }
  | { readonly kind: "lora"; readonly config: LoraConfig };

type Reader = (config: Readonly<Record<string, unknown>>, file: string) => AdapterMethod;

/** By `peft_type`. A new method adds one line here and one folder beside `randlora/`. */
const METHODS: Readonly<Record<string, Reader>> = {
  LORA: (config, file) => ({ kind: "lora", config: parseLoraConfig(config, file) }),
  RANDLORA: (config, file) => ({ kind: "randlora", config: parseRandloraConfig(config, file) }),
  // Bases and rows of Ŝ paired as in the paper, which PEFT does not do: `pairing` of the bases' record says so, too.
  RANDLORA_PAPER: (config, file) => ({ kind: "randlora", config: parseRandloraConfig(config, file) }),
};

/**
 * Understands a configuration by its `peft_type`. `file` is named in errors.
 * Throws `RandloraError` "adapter" for a method that cannot be applied, "format" for settings that make no sense.
 */
export function parseMethod(config: JsonObject, file: string): AdapterMethod {
  const type = config["peft_type"];
  if (typeof type !== "string") {
    const hint = "an adapter_config.json as PEFT writes it is needed";
    throw new RandloraError("format", `${oneLine(file)}: "peft_type" is missing or not a string`, hint);
  }
  const read = Object.hasOwn(METHODS, type) ? METHODS[type] : undefined;
  if (read === undefined) {
    const hint = `supported: ${Object.keys(METHODS).join(", ")}`;
    throw new RandloraError("adapter", `${oneLine(file)}: peft_type ${quote(type)} cannot be applied`, hint);
  }
  return read(Object.fromEntries(Object.entries(config).map(([key, value]) => [key, toPlain(value)])), file);
}
