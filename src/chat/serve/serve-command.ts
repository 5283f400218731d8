import type { AdapterChoice } from "../../adapters/merge/in-memory/weights.ts";
import type { BlocksName, KvName } from "../../compute/device/dtype.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import { isLoopback } from "../../files/hub/loopback.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { readRun } from "../../models/folder/run.ts";
import type { Context } from "../../terminal/options/command.ts";
import { chooseModel, describeDefaultModel, findDefaultModel, runsWithoutTemplate } from "../default-model.ts";
import type { Pooling } from "../generation/pooling.ts";
import type { LanguageModel } from "../language-model.ts";
import { loadModel } from "../load-model.ts";
import { fittingContext } from "../generation/fitting-context.ts";
import { readApiKeys } from "./api-keys.ts";
import { Engine } from "./engine.ts";
import { readGenerationConfig, requestDefaults } from "./generation-config.ts";
import { ModelList } from "./models.ts";
import { type NamedAdapter, nameOf, readNamedAdapters } from "./names.ts";
import { TrustedProxies } from "./proxy.ts";
import { ApiServer, requireFreeAddress } from "./server.ts";

/** What `randlora serve` is told. */
export interface ServeFlags {
  readonly host: string;
  readonly port: number;
  readonly apiKey: string | undefined;
  readonly apiKeys: string | undefined;
  readonly trustedProxy: readonly string[];
  readonly parallel: number;
  readonly queueLength: number;
  readonly adapter: readonly string[];
  readonly scale: readonly number[];
  readonly generator: GeneratorName | undefined;
  readonly system: string | undefined;
  readonly chatTemplate: string | undefined;
  readonly chatTemplateKwargs: Readonly<Record<string, unknown>> | undefined;
  readonly context: number | undefined;
  readonly maxTokens: number | undefined;
  readonly temperature: number | undefined;
  readonly topK: number | undefined;
  readonly topP: number | undefined;
  readonly minP: number | undefined;
  readonly quantize: BlocksName | undefined;
  readonly kvType: KvName;
  readonly pooling: Pooling;
  readonly slots: boolean;
}

/** Serves a model and its adapters until a signal comes. @param named the model; undefined: the newest run or merged model here */
export async function serve(named: string | undefined, options: ServeFlags, context: Context): Promise<void> {
  const source = named ?? (await findDefaultModel(process.cwd()));
  if (named === undefined) context.log.info(describeDefaultModel(source));
  const run = await readRun(source);
  const base = nameOf(run.place);
  const ofRun = run.adapter === undefined ? [] : [nameOf(run.adapter)];
  const asked = readNamedAdapters(options.adapter, [base, ...ofRun]);
  const { location, adapters } = await chooseModel(
    {
      model: source,
      adapters: asked.map(({ source }) => source),
      scales: options.scale,
      generator: options.generator,
    },
    { model: (name) => localPath(name, "model", context), adapter: (name) => localPath(name, "adapter", context) },
  );
  const proxies = new TrustedProxies(options.trustedProxy);
  const apiKeys = options.apiKeys === undefined ? undefined : await readApiKeys(options.apiKeys);
  await requireFreeAddress(options);
  await using model = await loadModel(location, options, context);
  for (const line of model.notes) context.log.warn(line);
  const names = [...ofRun, ...asked.map(({ name }) => name)];
  const choices = new Map<string, AdapterChoice>();
  for (const [index, choice] of adapters.entries()) {
    const name = names[index] ?? "";
    choices.set(name, choice);
    // What does not fit is found out now, not by the first client who asks for it.
    for (const line of await model.checkAdapters([choice], options.generator)) context.log.warn(`${name}: ${line}`);
  }
  const [preferred = base] = ofRun;
  const raw = await withoutTemplate([{ name: preferred, source }, ...asked], model, options, context);
  const { generator, queueLength, parallel, pooling } = options;
  const fitting = await fittingContext(model.decoder, { asked: options.context, rows: parallel });
  if (fitting.note !== undefined) context.log.warn(fitting.note);
  const { context: longest, positions } = fitting;
  const models = new ModelList(base, choices, { preferred, raw, context: longest, pooling });
  await using engine = new Engine(model, { generator, queueLength, parallel, positions });
  await engine.rehearse();
  const { host, port, apiKey, system } = options;
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
    defaults: requestDefaults(options, await readGenerationConfig(location.folder)),
    onFailure: (error) => context.log.warn(`a request failed: ${describe(error, context)}`),
    onRequest: (line) => context.log.verbose(line),
  });
  warnOfContext(options.context, model.decoder.config.contextLength, context);
  warnOfStrangers(host, apiKey ?? options.apiKeys, context);
  if (choices.size > 0) context.log.info(`models: ${models.all.map(({ id }) => id).join(", ")}`);
  context.log.announce(`listening on ${server.address}`);
  context.result({ address: server.address, models: models.all.map(({ id }) => id) });
  await Promise.race([aborted(context.signal), engine.failure]);
  if (engine.load > 0) context.log.info("finishing what is being written; a second signal leaves at once");
  await server.stop();
}

/** The names of models whose last message is continued as it stands, unless options ask for the chat template. */
async function withoutTemplate(
  named: readonly NamedAdapter[],
  { template }: LanguageModel,
  { system, chatTemplate, chatTemplateKwargs }: ServeFlags,
  { log }: Context,
): Promise<readonly string[]> {
  if ((system ?? chatTemplate ?? chatTemplateKwargs) !== undefined) return [];
  const raw: string[] = [];
  for (const { name, source } of named) {
    if ((await runsWithoutTemplate([source])).length === 0) continue;
    raw.push(name);
    if (template === undefined) continue;
    log.info(`${name}: trained without the chat template: the last message of a chat is continued as it stands`);
  }
  return raw;
}

function warnOfContext(asked: number | undefined, longest: number, { log }: Context): void {
  if (asked === undefined || asked <= longest) return;
  log.warn(`--context ${asked}: the model was made for ${longest} tokens; beyond them its answers may make no sense`);
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
