import type { AdapterChoice } from "../src/adapters/merge/in-memory/weights.ts";
import {
  choice,
  type Context,
  defineCommand,
  integer,
  json,
  number,
  optional,
  repeat,
  text,
} from "../src/terminal/options/command.ts";
import { GENERATOR_NAMES } from "../src/compute/random/names.ts";
import { contextOption } from "../src/terminal/options/shared/context.ts";
import { loadModel } from "../src/chat/load-model.ts";
import { quantizeOption } from "../src/terminal/options/shared/quantize.ts";

/** `randlora serve`: OpenAI's API and a chat page, for a model and its adapters. */
export const command = defineCommand({
  name: "serve",
  otherNames: ["server", "api"],
  summary: "Serve a model and its adapters: OpenAI's API, and a page to chat",
  example: "randlora serve HuggingFaceTB/SmolLM2-135M-Instruct --adapter pirate=my-adapter",
  arguments: {
    model: optional(
      "MODEL",
      "a model's folder or one of its files, a run, org/name on the Hub, or embedded; default: the newest run or merged model here",
    ),
  },
  options: {
    host: text({ topic: "Server", help: "address to listen on; 0.0.0.0 for all", default: "127.0.0.1" }),
    port: integer({
      topic: "Server",
      help: "port to listen on; 0 takes a free one",
      min: 0,
      max: 65535,
      default: 8080,
    }),
    apiKey: text({
      value: "KEY",
      topic: "Server",
      help: "API key that clients must send; better set as RANDLORA_API_KEY, which no process list shows",
    }),
    parallel: integer({
      value: "N",
      topic: "Server",
      help: "number of slots: requests decoded at once, each with its own KV cache",
      min: 1,
      max: 256,
      default: 4,
    }),
    queueLength: integer({
      topic: "Server",
      help: "maximum number of waiting requests; more get status 429",
      min: 1,
      default: 128,
    }),
    adapter: repeat(
      text({ value: "NAME=A", topic: "Adapters", help: "adapter to serve as NAME; may be given several times" }),
    ),
    scale: repeat(
      number({
        value: "S",
        topic: "Adapters",
        help: "adapter scale: multiplies α/r; once for all, or once for each adapter",
      }),
    ),
    generator: choice(GENERATOR_NAMES, {
      value: "NAME",
      topic: "Adapters",
      help: "random generator of the bases, if the adapter does not record it",
    }),
    system: text({ topic: "Text", help: "system message of conversations that have none" }),
    chatTemplate: text({ value: "FILE", topic: "Text", help: "chat template (Jinja)", defaultText: "the model's own" }),
    chatTemplateKwargs: json({
      topic: "Text",
      help: 'variables for the chat template, such as {"enable_thinking": false}',
    }),
    context: contextOption({
      topic: "Answers",
      help: "context length of a slot in tokens (KV cache)",
      defaultText: "the model's own",
    }),
    maxTokens: integer({
      topic: "Answers",
      help: "default of max_tokens: maximum number of tokens in an answer",
      min: 1,
      defaultText: "up to the context's end",
    }),
    temperature: number({
      value: "T",
      topic: "Answers",
      help: "default of temperature; 0 always takes the most likely token",
      min: 0,
      default: 0.8,
    }),
    topK: integer({
      value: "K",
      topic: "Answers",
      help: "default of top_k; 0 disables it",
      min: 0,
      default: 40,
    }),
    topP: number({
      value: "P",
      topic: "Answers",
      help: "default of top_p",
      above: 0,
      max: 1,
      default: 0.95,
    }),
    minP: number({
      value: "P",
      topic: "Answers",
      help: "default of min_p",
      min: 0,
      max: 1,
      default: 0.05,
    }),
    quantize: quantizeOption({ topic: "Model" }),
  },
  // What most people need; the rest is in --help-all.
  shown: [
    "host",
    "port",
    "apiKey",
    "parallel",
    "adapter",
    "scale",
    "system",
    "context",
    "maxTokens",
    "temperature",
    "quantize",
  ],
  async run({ model: named }, options, context) {
    const { chooseModel, describeDefaultModel, findDefaultModel, readRun, runsWithoutTemplate } =
      await import("../src/chat/default-model.ts");
    const { nameOf, readNamedAdapters } = await import("../src/chat/serve/names.ts");
    const { localPath } = await import("../src/models/folder/places.ts");
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
    const { ModelList } = await import("../src/chat/serve/models.ts");
    const { Engine } = await import("../src/chat/serve/engine.ts");
    const { ApiServer } = await import("../src/chat/serve/server.ts");
    const { chatTemplate, chatTemplateKwargs } = options;
    const wantsTemplate = (options.system ?? chatTemplate ?? chatTemplateKwargs) !== undefined;
    const [preferred = base] = ofRun;
    const raw: string[] = [];
    for (const { name, source: path } of wantsTemplate ? [] : [{ name: preferred, source }, ...asked]) {
      if ((await runsWithoutTemplate([path])).length === 0) continue;
      raw.push(name);
      if (model.template === undefined) continue;
      const cause = "trained without the chat template: the last message of a chat is continued as it stands";
      context.log.info(`${name}: ${cause}`);
    }
    const models = new ModelList(base, choices, { preferred, raw });
    const { generator, queueLength, parallel } = options;
    const longest = options.context ?? model.decoder.config.contextLength;
    await using engine = new Engine(model, { generator, queueLength, parallel, context: longest });
    await engine.rehearse();
    const { temperature, topK, topP, minP, maxTokens, host, port, apiKey, system } = options;
    await using server = new ApiServer({
      host,
      port,
      apiKey,
      model,
      models,
      engine,
      prompts: {
        system,
        templateVariables: options.chatTemplateKwargs ?? {},
        context: longest,
      },
      defaults: { sampling: { temperature, topK, topP, minP }, maxTokens },
      onFailure: (error) => context.log.warn(`a request failed: ${describe(error, context)}`),
      onRequest: (line) => context.log.verbose(line),
    });
    warnOfContext(options.context, model.decoder.config.contextLength, context);
    await warnOfStrangers(host, apiKey, context);
    if (choices.size > 0) context.log.info(`models: ${models.all.map(({ id }) => id).join(", ")}`);
    context.log.announce(`listening on ${server.address}`);
    context.result({ address: server.address, models: models.all.map(({ id }) => id) });
    await Promise.race([aborted(context.signal), engine.failure]);
    if (engine.load > 0) context.log.info("finishing what is being written; a second signal leaves at once");
    await server.stop();
  },
});

function warnOfContext(asked: number | undefined, longest: number, { log }: Context): void {
  if (asked === undefined || asked <= longest) return;
  log.warn(`--context ${asked}: the model was made for ${longest} tokens; beyond them its answers may make no sense`);
}

async function warnOfStrangers(host: string, apiKey: string | undefined, { log }: Context): Promise<void> {
  const { isLoopback } = await import("../src/files/hub/loopback.ts");
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
