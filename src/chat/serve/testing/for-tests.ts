import { afterAll, beforeAll } from "bun:test";
import type { LanguageModel } from "../../language-model.ts";
import { loadStoriesModel, serveStories, type TestServer, type TestServerOptions } from "./server.ts";

/** One model behind a server, for all tests of a file. */
export class ServedForTests {
  #model: LanguageModel | undefined;
  #serving: TestServer | undefined;

  /** Loads the model and starts the server before the file's first test, and ends both after the last. */
  constructor(load: () => Promise<LanguageModel> = loadStoriesModel, options?: TestServerOptions) {
    beforeAll(async () => {
      this.#model = await load();
      this.#serving = serveStories(this.#model, options);
    }, 120_000);
    afterAll(async () => {
      await this.#serving?.[Symbol.asyncDispose]();
      await this.#model?.[Symbol.asyncDispose]();
    });
  }

  get model(): LanguageModel {
    if (this.#model === undefined) throw new Error("no test has begun");
    return this.#model;
  }

  get serving(): TestServer {
    if (this.#serving === undefined) throw new Error("no test has begun");
    return this.#serving;
  }

  get client(): TestServer["client"] {
    return this.serving.client;
  }

  /** What a GET, or with a body a POST, is answered. @throws Error with the answer, where the status is no success */
  async send(path: string, body?: object): Promise<string> {
    const method = body === undefined ? "GET" : "POST";
    const response = await fetch(`${this.serving.address}${path}`, { method, body: body && JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(text);
    return text;
  }

  /** An answer that is one value. */
  async say(path: string, body?: object): Promise<unknown> {
    return JSON.parse(await this.send(path, body));
  }
}
