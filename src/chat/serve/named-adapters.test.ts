import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { APIError } from "openai";
import type { LanguageModel } from "../language-model.ts";
import { failure, loadStoriesModel, serveStories, type TestServer, writeAdapters } from "./testing/server.ts";

setDefaultTimeout(60_000);

let folder: string;
let model: LanguageModel;
let serving: TestServer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-serve-"));
  model = await loadStoriesModel();
  serving = serveStories(model, { adapters: await writeAdapters(folder) });
}, 120_000);
afterAll(async () => {
  await serving[Symbol.asyncDispose]();
  await model[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const user = (content: string) => [{ role: "user" as const, content }];

describe("adapters", () => {
  test("are chosen by name; what each says does not depend on what was asked before", async () => {
    const say = async (id: string): Promise<string> => {
      const body = { model: id, messages: user("Once upon a time"), max_tokens: 24 };
      return (await serving.client.chat.completions.create(body)).choices[0]?.message.content ?? "";
    };
    const [base, pirate, poet] = [await say("storyteller"), await say("pirate"), await say("poet")];
    expect(new Set([base, pirate, poet]).size).toBe(3);
    expect([await say("pirate"), await say("storyteller"), await say("poet")]).toEqual([pirate, base, poet]);
    // Many at once, whatever order the queue makes of them.
    const names = ["storyteller", "pirate", "poet", "pirate", "storyteller", "poet", "pirate"];
    const wanted = new Map([
      ["storyteller", base],
      ["pirate", pirate],
      ["poet", poet],
    ]);
    expect(await Promise.all(names.map(say))).toEqual(names.map((name) => wanted.get(name) ?? ""));
  });

  test("are listed after the base, which is what is meant without a name", async () => {
    const { data } = await serving.client.models.list();
    expect(data.map(({ id }) => id)).toEqual(["storyteller", "pirate", "poet"]);
    expect(await serving.client.models.retrieve("pirate")).toMatchObject({ id: "pirate", parent: "storyteller" });
    const response = await fetch(`${serving.address}/v1/completions`, {
      method: "POST",
      body: JSON.stringify({ prompt: "Once", max_tokens: 1 }),
    });
    expect(await response.json()).toMatchObject({ model: "storyteller" });
    const none = await failure(serving.client.completions.create({ model: "gpt-4", prompt: "x" }));
    expect(none).toMatchObject({ status: 404, code: "model_not_found", param: "model" });
  });

  test("one whose file has gone fails alone, and tells the log why", async () => {
    const gone = new Map([["gone", { path: join(folder, "nothing"), scale: 1 }]]);
    await using broken = serveStories(model, { adapters: gone });
    const asked = await failure(broken.client.completions.create({ model: "gone", prompt: "Once" }));
    expect(asked).toMatchObject({ status: 500, type: "server_error" });
    expect(broken.failures).toEqual([expect.objectContaining({ message: expect.stringContaining("nothing") })]);
    const stream = await broken.client.completions.create({ model: "gone", prompt: "Once", stream: true });
    const read = async (): Promise<void> => {
      for await (const _ of stream);
    };
    expect(await failure(read())).toBeInstanceOf(APIError);
    const { choices } = await broken.client.completions.create({ model: "storyteller", prompt: "Once", max_tokens: 3 });
    expect(choices[0]?.text).not.toBe("");
  });
});
