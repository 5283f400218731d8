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
