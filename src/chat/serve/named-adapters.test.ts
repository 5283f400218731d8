import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { APIError } from "openai";
import { AdaptersForTests } from "./testing/adapters.ts";
import { failure, serveStories } from "./testing/server.ts";

setDefaultTimeout(60_000);

const made = new AdaptersForTests({});

const user = (content: string) => [{ role: "user" as const, content }];

describe("adapters", () => {
  test("are chosen by name; what each says does not depend on what was asked before", async () => {
    const say = async (id: string): Promise<string> => {
      const body = { model: id, messages: user("Once upon a time"), max_tokens: 24 };
      return (await made.serving.client.chat.completions.create(body)).choices[0]?.message.content ?? "";
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
    const { data } = await made.serving.client.models.list();
    expect(data.map(({ id }) => id)).toEqual(["storyteller", ...made.adapters.keys()]);
    expect(await made.serving.client.models.retrieve("pirate")).toMatchObject({ id: "pirate", parent: "storyteller" });
    const response = await fetch(`${made.serving.address}/v1/completions`, {
      method: "POST",
      body: JSON.stringify({ prompt: "Once", max_tokens: 1 }),
    });
    expect(await response.json()).toMatchObject({ model: "storyteller" });
    const none = await failure(made.serving.client.completions.create({ model: "gpt-4", prompt: "x" }));
    expect(none).toMatchObject({ status: 404, code: "model_not_found", param: "model" });
  });

  test("one whose file has gone fails alone, and tells the log why", async () => {
    const gone = new Map([["gone", { path: made.at("nothing"), scale: 1 }]]);
    await using broken = serveStories(made.model, { adapters: gone });
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
