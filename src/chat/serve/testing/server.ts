import { inBlocks } from "../../../models/decoder/cache/layer-cache.ts";
import { join } from "node:path";
import { TEST_DEVICE } from "../../../compute/device/testing/open.ts";
import OpenAI from "openai";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import type { AdapterChoice } from "../../../adapters/merge/merged-checkpoint.ts";
import { FIXTURES } from "../../../data/text/testing/families.ts";
import { LanguageModel } from "../../language-model.ts";
import { writeAdapter } from "../../../adapters/merge/testing/models.ts";
import { Engine } from "../engine.ts";
import { ModelList, type ModelListOptions } from "../models.ts";
import type { ServedModel } from "../job.ts";
import { ApiServer, type ServerOptions } from "../server.ts";

/** What a test may want otherwise. */
export interface TestServerOptions extends Partial<Omit<ServerOptions, "model" | "models" | "engine">> {
  readonly adapters?: ReadonlyMap<string, AdapterChoice>;
  readonly queueLength?: number;
  readonly list?: ModelListOptions;
  /** Ids of models that were trained without the chat template. */
  readonly raw?: readonly string[];
  /** Further models, whose adapters must be merged. */
  readonly merged?: readonly ServedModel[];
  /** Adapters that stand beside the weights at most; 8 where nothing is said, and there are any. */
  readonly most?: number;
  /** Texts that are written together; 4 where nothing is said. */
  readonly parallel?: number;
  /** Of all keys and values; as many as all texts may need where nothing is said. */
  readonly positions?: number;
}

const BASE = { id: "storyteller", adapters: [], raw: false, weights: "storyteller" } as const;

/** A server of the stories model with its client. */
export interface TestServer extends AsyncDisposable {
  readonly address: string;
  readonly client: OpenAI;
  readonly engine: Engine;
  readonly server: ApiServer;
  readonly models: ModelList["all"];
  /** What no client was told. */
  readonly failures: readonly unknown[];
}

export async function loadStoriesModel(device = TEST_DEVICE): Promise<LanguageModel> {
  return await LanguageModel.load({ location: { folder: STORIES, weights: undefined }, device });
}

/** The stories model with a chat template that knows tools, in the format of Hermes and Qwen. */
export async function loadToolsModel(): Promise<LanguageModel> {
  const templateFile = join(FIXTURES, "chat", "chatml-tools.jinja");
  return await LanguageModel.load({
    location: { folder: STORIES, weights: undefined },
    device: TEST_DEVICE,
    templateFile,
  });
}

/** A real server on a free port; the model may serve another one afterwards. */
export function serveStories(model: LanguageModel, options: TestServerOptions = {}): TestServer {
  const {
    adapters = new Map<string, AdapterChoice>(),
    queueLength = 128,
    parallel = 4,
    positions,
    list,
    merged = [],
    raw = [],
    most = adapters.size === 0 && list?.folder === undefined ? 0 : 8,
    ...rest
  } = options;
  const context = rest.prompts?.context ?? model.decoder.config.contextLength;
  const failures: unknown[] = [];
  const engine = new Engine(model, {
    queueLength,
    parallel,
    positions: positions ?? parallel * inBlocks(context),
    adapters: most,
    onLoss: (error) => void failures.push(error),
  });
  const adapted = Array.from(adapters, ([id, choice]) => {
    return { ...BASE, id, adapters: [choice], raw: raw.includes(id), weights: BASE.id };
  });
  const models = new ModelList({ ...BASE, raw: raw.includes(BASE.id) }, [...adapted, ...merged], list);
  const server = new ApiServer({
    host: "127.0.0.1",
    port: 0,
    apiKey: undefined,
    model,
    models,
    engine,
    pooling: "mean",
    slots: false,
    prompts: { system: undefined, templateVariables: {}, context: model.decoder.config.contextLength },
    defaults: { sampling: { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1 }, maxTokens: undefined },
    onFailure: (error) => void failures.push(error),
    ...rest,
  });
  const { address } = server;
  return {
    address,
    server,
    engine,
    models: models.all,
    failures,
    client: new OpenAI({ baseURL: `${address}/v1`, apiKey: rest.apiKey ?? "none", maxRetries: 0 }),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await engine[Symbol.asyncDispose]();
    },
  };
}

/** Two adapters that make the stories model say something else, each in its own way. */
export async function writeAdapters(folder: string): Promise<ReadonlyMap<string, AdapterChoice>> {
  const modules = { "model.layers.0.self_attn.q_proj": [64, 64], "model.layers.4.mlp.down_proj": [64, 172] } as const;
  const write = async (name: string, seed: number): Promise<[string, AdapterChoice]> => {
    const path = await writeAdapter(join(folder, name), { r: 4, alpha: 80, seed, size: 0.05, modules });
    return [name, { path, scale: 1 }];
  };
  return new Map([await write("pirate", 3), await write("poet", 4)]);
}

/** Waits for something that happens by itself. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error("it did not happen within 20 s");
    await Bun.sleep(10);
  }
}

/** What a request failed with; the client's promises are no real ones, which `expect(…).rejects` wants. */
export async function failure(asked: PromiseLike<unknown>): Promise<unknown> {
  try {
    await asked;
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
}
