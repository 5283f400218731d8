import { type BlocksName, KV_NAMES, NAMED_KV } from "../compute/device/dtype.ts";
import type { LanguageModel, LanguageModelOptions } from "./language-model.ts";
import type { Quantized } from "../models/decoder/weights.ts";
import type { ModelLocation } from "../models/folder/locate.ts";
import type { Context } from "../terminal/options/command.ts";
import { BytesBar } from "../terminal/progress.ts";

interface LoadFlags extends Pick<LanguageModelOptions, "raw" | "dtype" | "quantize" | "kvType"> {
  /** A file instead of the model's own template. */
  readonly chatTemplate?: string | undefined;
}

/**
 * Loads a model that can write, with a bar for whoever watches.
 * @throws RandloraError as `LanguageModel.load`
 */
export async function loadModel(
  location: ModelLocation,
  { chatTemplate: templateFile, raw, dtype, quantize, kvType }: LoadFlags,
  context: Context,
): Promise<LanguageModel> {
  const { LanguageModel } = await import("./language-model.ts");
  using bar = new BytesBar(context, "loading");
  const onProgress = (read: number, total: number): void => {
    // Elsewhere rows of progress would stand between the lines of whoever waits for an answer.
    if (context.screen.interactive) bar.update(read, total);
  };
  const { device, signal } = context;
  const held = { dtype, quantize, kvType };
  const model = await LanguageModel.load({ location, templateFile, raw, ...held, device, signal, onProgress });
  bar[Symbol.dispose]();
  await sayQuantized(model.quantized, quantize, context);
  const { formatBytes, formatNumber } = await import("../terminal/format.ts");
  const { kvBytes } = await import("../models/decoder/cache/layer-cache.ts");
  const { config, kvDtype } = model.decoder;
  const sizes = [Math.min(1024, config.contextLength), config.contextLength].map((tokens) => {
    return `${formatBytes(kvBytes(config, tokens, kvDtype, 1))} for ${formatNumber(tokens)}`;
  });
  const name = KV_NAMES.find((name) => NAMED_KV[name] === kvDtype);
  context.log.verbose(`KV cache in ${name}, by tokens: ${[...new Set(sizes)].join(", ")}`);
  return model;
}

/** What became of `--quantize`. */
export async function sayQuantized(
  quantized: Quantized | undefined,
  asked: BlocksName | undefined,
  { log }: Context,
): Promise<void> {
  const { notesOfBlocks, quantizedText } = await import("../terminal/quantized.ts");
  if (quantized !== undefined) log.info(`weights: ${quantizedText(quantized)}`);
  for (const note of notesOfBlocks(asked, quantized)) log.warn(note);
}
