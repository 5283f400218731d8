import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import type OpenAI from "openai";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { ServingProcess, spawnServe } from "./testing/serving.ts";
import { cp } from "node:fs/promises";
import { TemporaryFolder } from "../src/files/testing/folder.ts";

const folder = await TemporaryFolder.forTests();
let adapter: string;
beforeAll(async () => {
  const some = { r: 4, alpha: 80, seed: 3, size: 0.05 };
  const modules = { "model.layers.0.self_attn.q_proj": [64, 64], "model.layers.4.mlp.down_proj": [64, 172] } as const;
  adapter = await writeAdapter(folder.at("my-adapter"), { ...some, modules });
  await writeAdapter(folder.at("foreign"), { ...some, modules: { "model.layers.9.x_proj": [64, 64] } });
});

const spawn = (args: readonly string[]) => spawnServe(args, { cwd: folder.path });
const serve = (args: readonly string[], env: Record<string, string> = {}) =>
  new ServingProcess(args, { cwd: folder.path, env });

const ask = async (client: OpenAI, model: string): Promise<string> => {
  const body = { model, prompt: "Once upon a time", max_tokens: 20, temperature: 0 };
  return (await client.completions.create(body)).choices[0]?.text ?? "";
};

test("adapters of a folder are served as they come, beside the weights or merged", async () => {
  const dir = folder.at("adapters");
  await cp(adapter, join(dir, "pirate"), { recursive: true });
  await using beside = serve([STORIES, "--adapter-dir", dir, "--max-adapters", "1", "--scale", "0.5"]);
  const client = await beside.client();
  const mine = await ask(client, "pirate");
  expect(beside.stderr).toContain("models: storyteller, pirate\n");
  await cp(adapter, join(dir, "later"), { recursive: true });
  expect(await Promise.all(["later", "storyteller", "pirate"].map((name) => ask(client, name)))).toEqual([
    mine,
    await ask(client, "storyteller"),
    mine,
  ]);
  await using merged = serve([STORIES, "--adapter-dir", dir, "--merge", "--scale", "0.5"]);
  expect(await ask(await merged.client(), "later")).toBe(mine);
  for (const [args, words] of [
    [["--adapter-dir", join(dir, "nowhere")], "nowhere"],
    [["--adapter-dir", dir, "--merge", "--max-adapters", "2"], "--max-adapters and --merge"],
  ] as const) {
    expect(await new Response(spawn([STORIES, ...args]).stderr).text()).toContain(words);
  }
});

test("an adapter that is a run is asked as it was trained, as the run itself is", async () => {
  const run = folder.at("on-texts");
  await cp(adapter, join(run, "best"), { recursive: true });
  await Bun.write(join(run, "run.json"), JSON.stringify({ model: STORIES, sample_format: "text" }));
  await using serving = serve([STORIES, "--adapter", `texts=${run}`, "--adapter", `weights=${join(run, "best")}`]);
  const address = await serving.address;
  const ask = async (model: string) => {
    const messages = [
      { role: "system", content: "Be brief" },
      { role: "user", content: "Hello" },
    ];
    const body = JSON.stringify({ model, messages, max_tokens: 1 });
    return (await fetch(`${address}/v1/chat/completions`, { method: "POST", body })).status;
  };
  expect([await ask("storyteller"), await ask("texts"), await ask("weights")]).toEqual([200, 400, 400]);
  expect(serving.stderr).toContain("texts: trained without the chat template");
});

test("the key comes from the environment; strangers are warned of, unless there is one", async () => {
  // Quiet or not, the address is told: nothing else says which port 0 is.
  await using locked = serve([STORIES, "--host", "0.0.0.0", "--quiet"], { RANDLORA_API_KEY: "secret" });
  const client = await locked.client("secret");
  expect((await client.models.list()).data).toHaveLength(1);
  expect((await fetch(`${await locked.address}/v1/models`)).status).toBe(401);
  expect(locked.stderr).not.toContain("warning");
  await using open = serve([STORIES, "--host", "0.0.0.0", "--verbose"]);
  await fetch(`${await open.address}/health`);
  expect(await open.end("SIGINT")).toBe(130);
  expect(open.stderr).toContain("warning: 0.0.0.0: whoever reaches this address may use the model");
  expect(open.stderr).toMatch(/GET \/health 200/);
});

test("a signal lets the running answer end, a second one does not wait for it", async () => {
  await using serving = serve([STORIES]);
  const client = await serving.client();
  const stream = await client.completions.create({
    model: "storyteller",
    prompt: "Once",
    max_tokens: 40,
    stream: true,
  });
  let [text, reason]: [string, string | null] = ["", null];
  for await (const { choices } of stream) {
    if (text === "") serving.child.kill("SIGINT");
    text += choices[0]?.text ?? "";
    reason = choices[0]?.finish_reason ?? reason;
  }
  expect(reason).toBe("length");
  expect(await serving.child.exited).toBe(130);

  await using hasty = serve([STORIES]);
  const other = await hasty.client();
  const long = await other.completions.create({ model: "storyteller", prompt: "Once", stream: true });
  const read = async (): Promise<void> => {
    for await (const _ of long) {
      if (hasty.child.killed) continue;
      hasty.child.kill("SIGTERM");
      hasty.child.kill("SIGINT");
    }
  };
  await read().catch(() => {});
  expect(await hasty.child.exited).toBeOneOf([130, 143]);
});
