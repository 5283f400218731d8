import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { openAdapter } from "../adapters/formats/open.ts";
import { onePerAdapter } from "../adapters/merge/combine/plans.ts";
import { Contradiction } from "../files/errors.ts";
import { itemAt } from "../files/item-at.ts";
import { isJsonObject } from "../files/json.ts";
import type { JsonObject } from "../files/lossless-json.ts";
import { readOptionalJsonObject } from "../files/read-text.ts";
import { SETTINGS_FILE } from "../files/run-names.ts";
import { IMAGE_TYPES } from "../models/vision/index.ts";
import { EMBEDDED, locateModel, type ModelLocation, readRun, type Recorded } from "../models/folder/locate.ts";
import type { GeneratorName } from "../compute/random/names.ts";
import type { AdapterChoice } from "../adapters/merge/merged-checkpoint.ts";
import { type BlocksName, KV_NAMES, NAMED_KV } from "../compute/device/dtype.ts";
import type { LanguageModel, LanguageModelOptions } from "./language-model.ts";
import type { Quantized } from "../models/decoder/weights.ts";
import type { Context } from "../terminal/options/command.ts";
import { BytesBar } from "../terminal/progress.ts";

/** What a command line says about models and adapters. */
export interface ModelRequest {
  /** MODEL, or what `findDefaultModel` found in its place. */
  readonly model: string;
  readonly adapters: readonly string[];
  /** One for all, or one an adapter; multiplies α/r. */
  readonly scales: readonly number[];
  /** `--generator`, which only says something about an adapter. */
  readonly generator?: GeneratorName | undefined;
}

/** How names on the Hub become paths on this machine; paths stay what they are. */
export interface Finders {
  readonly model: (place: string | Recorded) => Promise<string>;
  readonly adapter: (text: string) => Promise<string>;
}

/** What is to be loaded. */
export interface ChosenModel {
  readonly location: ModelLocation;
  readonly adapters: readonly AdapterChoice[];
}

/**
 * Decides what a command line means: a run folder stands for the model that it was trained on, with the run as the first
 * adapter. Adapters are opened, to see that they are some.
 * @throws RandloraError `usage` when the scales do not match the adapters, or flags of adapters stand without one; `file`, `format`
 */
export async function chooseModel(request: ModelRequest, find: Finders): Promise<ChosenModel> {
  const { scales, generator } = request;
  const run = await readRun(request.model);
  const location = await locateModel(await find.model(run.place));
  const names = [...(run.adapter === undefined ? [] : [run.adapter]), ...request.adapters];
  if (names.length === 0 && (scales.length > 0 || generator !== undefined)) {
    const option = scales.length > 0 ? "scale" : "generator";
    throw new Contradiction([option], `--${option} without an adapter`, "give --adapter as well");
  }
  const factors = onePerAdapter("scale", scales, names, 1);
  const adapters: AdapterChoice[] = [];
  for (const [index, name] of names.entries()) {
    const path = await find.adapter(name);
    // What is no adapter is found out now, not when a large model has been read.
    await (await openAdapter(path)).close();
    adapters.push({ path, scale: itemAt(factors, index) });
  }
  return { location, adapters };
}

/** What {@link findDefaultModel} found, for a note to the user. */
export function describeDefaultModel(model: string): string {
  if (model === EMBEDDED) return "no run or merged model in this folder: this is the small model inside the program";
  return `${model}: the newest run or merged model of this folder`;
}

/**
 * The newest of a folder's runs (`runs/*`, with something to show) and merged models (`merged`, `*-merged`) of text: what a command
 * line without MODEL means; the embedded model where there is none.
 * @returns its path, relative to `folder`, or `embedded`
 */
export async function findDefaultModel(folder: string): Promise<string> {
  const runs = (await names(join(folder, "runs"))).map((name) => join("runs", name));
  const merged = (await names(folder)).filter((name) => /(?:^|-)merged$/.test(name));
  const found: { readonly path: string; readonly time: number }[] = [];
  for (const [paths, files] of [
    [runs, ["adapter/adapter_config.json", "best/adapter_config.json", "model/config.json", "best/config.json"]],
    [merged, ["config.json"]],
  ] as const) {
    for (const path of paths) {
      const times = await Promise.all(files.map((file) => timeOf(join(folder, path, file))));
      const time = Math.max(...times.map((one) => one ?? -Infinity));
      if (time > -Infinity) found.push({ path, time });
    }
  }
  for (const { path } of found.toSorted((a, b) => b.time - a.time || a.path.localeCompare(b.path)))
    if (!(await isOfImages(join(folder, path)))) return path;
  return EMBEDDED;
}

/** Does a run or a model say that it is of images? What cannot be read is told where it is opened. */
async function isOfImages(path: string): Promise<boolean> {
  const [run, model] = await Promise.all(
    [SETTINGS_FILE, "config.json"].map((file) =>
      readOptionalJsonObject(join(path, file)).catch(() => ({}) as JsonObject),
    ),
  );
  return isJsonObject(run?.["images"]) || IMAGE_TYPES.includes(String(model?.["model_type"]));
}

async function names(folder: string): Promise<string[]> {
  return await readdir(folder).catch(() => []);
}

/** When a file was written last; undefined where there is none. */
async function timeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.mtimeMs;
}

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
