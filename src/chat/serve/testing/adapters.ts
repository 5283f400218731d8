import { afterAll, beforeAll } from "bun:test";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeLora } from "../../../adapters/testing/lora.ts";
import { writeDora } from "../../../adapters/testing/magnitudes.ts";
import { writeAdapter } from "../../../adapters/merge/testing/models.ts";
import type { AdapterChoice } from "../../../adapters/merge/merged-checkpoint.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import type { LanguageModel } from "../../language-model.ts";
import { loadStoriesModel, serveStories, type TestServer, type TestServerOptions } from "./server.ts";

export const MODULES = {
  "model.layers.0.self_attn.q_proj": [64, 64],
  "model.layers.4.mlp.down_proj": [64, 172],
} as const;

/** Adapters of several methods for the stories model, in a new folder. */
async function writeManyAdapters(folder: string): Promise<ReadonlyMap<string, AdapterChoice>> {
  await mkdir(folder);
  const at = (name: string) => join(folder, name);
  const lora = { r: 4, alpha: 40, modules: MODULES };
  const randlora = { ...lora, alpha: 80, size: 0.05 };
  const paths = {
    pirate: await writeAdapter(at("pirate"), { ...randlora, seed: 3 }),
    poet: await writeAdapter(at("poet"), { ...randlora, seed: 4 }),
    sailor: await writeLora(at("sailor"), { ...lora, seed: 5 }),
    cook: await writeDora(at("cook"), { ...lora, seed: 6 }),
  };
  return new Map(Object.entries(paths).map(([name, path]) => [name, { path, scale: 1 }]));
}

/** How they are served. */
export const SERVED = { base: "storyteller", merge: false, generator: undefined, wantsTemplate: true } as const;
export const LOG = { info: () => {}, warn: () => {} };

/** Ten clients, who ask for other lengths, and some by chance. */
export const clients = (names: readonly string[]) =>
  Array.from({ length: 10 }, (_, at) => ({
    model: names[at % names.length] ?? "",
    prompt: `${"Once upon a time ".repeat(1 + (at % 3))}there was ${at}`,
    max_tokens: 12 + 5 * (at % 4),
    temperature: at % 2 === 0 ? 0 : 1.2,
    seed: at,
    user: `client ${at}`,
  }));

export async function ask({ client }: TestServer, body: ReturnType<typeof clients>[number]): Promise<string> {
  return (await client.completions.create(body)).choices[0]?.text ?? "";
}

/** The stories model, and adapters of several methods in a folder, for all tests of a file; behind a server if one is asked for. */
export class AdaptersForTests {
  #folder: TemporaryFolder | undefined;
  #model: LanguageModel | undefined;
  #serving: TestServer | undefined;
  adapters: ReadonlyMap<string, AdapterChoice> = new Map();

  /** Makes them before the file's first test, and removes them after the last. */
  constructor(options?: TestServerOptions) {
    beforeAll(async () => {
      this.#folder = await TemporaryFolder.create();
      this.adapters = await writeManyAdapters(this.at("adapters"));
      this.#model = await loadStoriesModel();
      if (options !== undefined) this.#serving = serveStories(this.#model, { adapters: this.adapters, ...options });
    }, 120_000);
    afterAll(async () => {
      await this.#serving?.[Symbol.asyncDispose]();
      await this.#model?.[Symbol.asyncDispose]();
      await this.#folder?.[Symbol.asyncDispose]();
    });
  }

  get model(): LanguageModel {
    if (this.#model === undefined) throw new Error("no test has begun");
    return this.#model;
  }

  get serving(): TestServer {
    if (this.#serving === undefined) throw new Error("no test has begun, or no server was asked for");
    return this.#serving;
  }

  get path(): string {
    if (this.#folder === undefined) throw new Error("no test has begun");
    return this.#folder.path;
  }

  at(name: string): string {
    return join(this.path, name);
  }
}
