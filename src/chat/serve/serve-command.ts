import * as v from "valibot";
import { stat } from "node:fs/promises";
import { megabytes } from "../../compute/device/memory-limit.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { brief, naming, oneLine } from "../../files/failure.ts";
import { isLoopback } from "../../files/hub/loopback.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { readRun } from "../../models/folder/locate.ts";
import type { Context } from "../../terminal/options/command.ts";
import { chooseModel, describeDefaultModel, findDefaultModel, loadModel } from "../default-model.ts";
import { fittingContext, plannedBytes } from "../generation/fitting-context.ts";
import { AdapterFolder, isRaw, servedAdapter, type ServedOptions } from "./adapter-folder.ts";
import { readApiKeys } from "./api-keys.ts";
import { Engine } from "./engine.ts";
import { ModelList, nameOf, readNamedAdapters } from "./models.ts";
import { isMerged, type ServedModel } from "./job.ts";
import type { ServeFlags, ServeJson } from "./options.ts";
import { TrustedProxies } from "./proxy.ts";
import { ApiServer, GRACE_MS, requireFreeAddress } from "./server.ts";
import { join } from "node:path";
import { readOptionalJsonObject } from "../../files/read-text.ts";
import { MAX_TEMPERATURE } from "../generation/sampling.ts";
import type { RequestDefaults } from "./fields.ts";
import { optional } from "./schemas.ts";

/** Adapters that are held beside the weights, unless `--max-adapters` says another number. */
const MOST_ADAPTERS = 8;
/** Names that are listed at the start. */
const MOST_LISTED = 20;

/** Serves a model and its adapters until a signal comes. @param named the model; undefined: the newest run or merged model here */
export async function serve(
  named: string | undefined,
  options: ServeFlags,
  context: Context<ServeJson>,
): Promise<void> {
  if (options.merge === true && options.maxAdapters !== undefined) {
    const cause = "--max-adapters and --merge: merged adapters are not held beside the weights";
    throw new Contradiction(["maxAdapters", "merge"], cause, "leave one of them out");
  }
  const source = named ?? (await findDefaultModel(process.cwd()));
  if (named === undefined) context.log.info(describeDefaultModel(source));
  const run = await readRun(source);
  const base = nameOf(run.place);
  const ofRun = run.adapter === undefined ? [] : [nameOf(run.adapter)];
  const asked = readNamedAdapters(options.adapter, [base, ...ofRun]);
  const isFolderAlone = options.adapterDir !== undefined && ofRun.length + asked.length === 0;
  const { location, adapters } = await chooseModel(
    {
      model: source,
      adapters: asked.map(({ source }) => source),
      // Those of a folder have them, too.
      ...(isFolderAlone ? { scales: [] } : { scales: options.scale, generator: options.generator }),
    },
    { model: (name) => localPath(name, "model", context), adapter: (name) => localPath(name, "adapter", context) },
  );
  if (options.adapterDir !== undefined) await naming(options.adapterDir, "read", stat(options.adapterDir));
  const proxies = new TrustedProxies(options.trustedProxy);
  const apiKeys = options.apiKeys === undefined ? undefined : await readApiKeys(options.apiKeys);
  await requireFreeAddress(options);
  const defaults = requestDefaults(options, await readGenerationConfig(location.folder));
  await using model = await loadModel(location, options, context);
  for (const line of model.notes) context.log.warn(line);
  const names = [...ofRun, ...asked.map(({ name }) => name)];
  const { system, chatTemplate, chatTemplateKwargs, adapterDir, generator, queueLength, parallel, pooling } = options;
  const served: ServedOptions = {
    base,
    // One adapter alone is fastest so; where weights are quantized, it stands beside them anyway.
    merge: options.merge ?? (adapters.length === 1 && adapterDir === undefined && model.quantized === undefined),
    generator,
    wantsTemplate: (system ?? chatTemplate ?? chatTemplateKwargs) !== undefined,
    log: context.log,
  };
  const sources = [...(ofRun.length === 0 ? [] : [source]), ...asked.map((one) => one.source)];
  const adapted: ServedModel[] = [];
  for (const [index, choice] of adapters.entries()) {
    const [id = "", named = ""] = [names[index], sources[index]];
    adapted.push(await servedAdapter(model, { id, source: named, choice }, served));
  }
  const [scale = 1] = options.scale;
  const folder =
    adapterDir === undefined
      ? undefined
      : await AdapterFolder.create(adapterDir, async (id, path) => {
          return await servedAdapter(model, { id, source: path, choice: { path, scale } }, served);
        });
  const [preferred = base] = ofRun;
  const ofBase = { id: base, adapters: [], weights: base };
  const raw = preferred === base && (await isRaw(model, base, source, served));
  const fitting = await fittingContext(model.decoder, { asked: options.context, rows: parallel });
  for (const note of fitting.notes) context.log.warn(note);
  const { context: longest, positions } = fitting;
  const models = new ModelList({ ...ofBase, raw }, adapted, { preferred, context: longest, pooling, folder });
  const isBeside = folder !== undefined || adapted.some((one) => !isMerged(one));
  const most = isBeside && !served.merge ? (options.maxAdapters ?? MOST_ADAPTERS) : 0;
  if (most === 0 && options.maxAdapters !== undefined) {
    context.log.warn(`--max-adapters ${options.maxAdapters}: no adapter is held beside the weights`);
  }
  const onLoss = (error: unknown): void => context.log.warn(`the device is opened anew: ${describe(error, context)}`);
  await using engine = new Engine(model, { generator, queueLength, parallel, positions, adapters: most, onLoss });
  const placed = await engine.placed.placeFirst(models.all);
  const ofRows = placed.map((rows) => rows?.adapter);
  const planned = await plannedBytes(model.decoder, { rows: parallel, positions, adapters: ofRows });
  const loaded = placed.length > 0 ? ", with the adapters that are loaded now" : "";
  context.log.verbose(`memory: ${megabytes(planned)} at most${loaded}`);
  await engine.rehearse(placed);
  const { host, port, apiKey } = options;
  await using server = new ApiServer({
    host,
    port,
    apiKey,
    apiKeys,
    proxies,
    model,
    models,
    engine,
    prompts: {
      system,
      templateVariables: options.chatTemplateKwargs ?? {},
      context: longest,
    },
    pooling,
    slots: options.slots,
    defaults,
    onFailure: (error) => context.log.warn(`a request failed: ${describe(error, context)}`),
    onRequest: (line) => context.log.info(line),
  });
  warnOfStrangers(host, apiKey ?? options.apiKeys, context);
  const ids = [...(await models.entries()).keys()];
  const rest = ids.length > MOST_LISTED ? [`and ${ids.length - MOST_LISTED} more`] : [];
  if (ids.length > 1 || folder !== undefined) {
    context.log.info(`models: ${[...ids.slice(0, MOST_LISTED), ...rest].join(", ")}`);
  }
  context.log.announce(`listening on ${server.address}`);
  const json: ServeJson = { address: server.address, models: ids, planned_bytes: planned };
  context.result(json);
  await Promise.race([aborted(context.signal), engine.device.failure]);
  const running = engine.slots.filter((slot) => slot !== undefined).length;
  const answers = running === 1 ? "an answer has" : `${running} answers have`;
  const seconds = GRACE_MS / 1000;
  context.log.info(
    running === 0 ? "stopping" : `stopping: ${answers} ${seconds} seconds to end; Ctrl-C again stops at once`,
  );
  await server.stop();
}

function warnOfStrangers(host: string, apiKey: string | undefined, { log }: Context): void {
  if (apiKey !== undefined || isLoopback(host)) return;
  log.warn(`${host}: whoever reaches this address may use the model; --api-key lets in those only who know the key`);
}

function describe(error: unknown, { verbose }: Context): string {
  if (!(error instanceof Error)) return String(error);
  return verbose ? (error.stack ?? error.message) : error.message;
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** Of an answer where nobody says how long it may be: one that repeats itself comes to an end. */
const MOST_TOKENS = 4096;

const share = v.pipe(v.number(), v.minValue(0), v.maxValue(1));

const Config = v.object({
  temperature: optional(v.pipe(v.number(), v.minValue(0), v.maxValue(MAX_TEMPERATURE))),
  top_k: optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
  top_p: optional(share),
  min_p: optional(share),
  repetition_penalty: optional(v.pipe(v.number(), v.finite(), v.gtValue(0))),
  max_new_tokens: optional(v.pipe(v.number(), v.safeInteger(), v.minValue(1))),
});

/** What a model's author recommends for sampling. */
type GenerationConfig = v.InferOutput<typeof Config>;

/**
 * Reads the sampling of a model's generation_config.json: the fields that vLLM takes from it. `do_sample` says nothing, since
 * a request that wants the most likely token says so by its temperature.
 * @throws RandloraError `format` for a value that makes no sense
 */
export async function readGenerationConfig(folder: string): Promise<GenerationConfig> {
  const path = join(folder, "generation_config.json");
  const result = v.safeParse(Config, await readOptionalJsonObject(path), { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw new RandloraError("format", `${oneLine(path)}: ${v.getDotPath(issue) ?? ""}: ${brief(issue.message)}`);
}

/** What the command line says of sampling. */
type SamplingFlags = Pick<ServeFlags, "temperature" | "topK" | "topP" | "minP" | "maxTokens">;

/** What the command line, else the model says of requests that say nothing. */
export function requestDefaults(flags: SamplingFlags, config: GenerationConfig): RequestDefaults {
  return {
    sampling: {
      temperature: flags.temperature ?? config.temperature,
      topK: flags.topK ?? config.top_k,
      topP: flags.topP ?? config.top_p,
      minP: flags.minP ?? config.min_p,
      repeatPenalty: config.repetition_penalty,
    },
    maxTokens: flags.maxTokens ?? config.max_new_tokens ?? MOST_TOKENS,
  };
}
