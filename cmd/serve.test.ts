import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import type OpenAI from "openai";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { ServingProcess, spawnServe } from "./testing/serving.ts";
import { cp, mkdir } from "node:fs/promises";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { ended, runToEnd } from "../src/files/testing/process.ts";
import { randlora } from "./testing/program.ts";

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

const Answer = v.object({
  model: v.string(),
  choices: v.tuple([v.object({ message: v.object({ content: v.string() }) })]),
});

const ask = async (client: OpenAI, model: string): Promise<string> => {
  const body = { model, prompt: "Once upon a time", max_tokens: 20, temperature: 0 };
  return (await client.completions.create(body)).choices[0]?.text ?? "";
};

test("a model and its adapters are served, an adapter as the merged model is, and SIGINT ends it", async () => {
  await using serving = serve([STORIES, "--adapter", `mine=${adapter}`, "--adapter", adapter, "--scale", "0.5"]);
  const client = await serving.client();
  const { data } = await client.models.list();
  expect(data.map(({ id }) => id)).toEqual(["storyteller", "mine", "my-adapter"]);
  const [base, mine, same] = [
    await ask(client, "storyteller"),
    await ask(client, "mine"),
    await ask(client, "my-adapter"),
  ];
  expect(mine).not.toBe(base);
  expect(same).toBe(mine);
  const args = ["chat", STORIES, "--adapter", adapter, "--scale", "0.5", "--raw", "--temperature", "0"];
  const chat = await randlora([...args, "--max-tokens", "20", "-p", "Once upon a time"]);
  expect(chat.stdout).toBe(`${mine}\n`);
  expect(await serving.end("SIGINT")).toBe(130);
  const models = "models: storyteller, mine, my-adapter\n";
  const request = /^127\.0\.0\.1 \w+ \/v1\/\w+ 200 [\d.]+ s\n/gm;
  expect(serving.stderr.match(request)).toHaveLength(4);
  expect(serving.stderr.replace(request, "")).toBe(`${models}listening on ${await serving.address}\nstopping\n`);
});

test("a run is served with its adapter, which is what is meant without a name", async () => {
  const run = folder.at("runs", "first");
  await mkdir(run, { recursive: true });
  await cp(adapter, join(run, "adapter"), { recursive: true });
  await Bun.write(join(run, "run.json"), JSON.stringify({ model: STORIES }));
  await using serving = serve(["--json"]);
  const address = await serving.address;
  const response = await fetch(`${address}/v1/completions`, {
    method: "POST",
    body: JSON.stringify({ prompt: "Once", max_tokens: 1 }),
  });
  expect(await response.json()).toMatchObject({ model: "first" });
  expect(await serving.end("SIGTERM")).toBe(143);
  const result = { address, models: ["storyteller", "first"], planned_bytes: expect.any(Number) };
  expect(JSON.parse(await serving.child.stdout.text())).toEqual(result);
  expect(serving.stderr).toStartWith(`${join("runs", "first")}: the newest run or merged model of this folder\n`);
  expect(serving.stderr).toContain(`\nmodels: storyteller, first\nlistening on ${address}\n`);
  expect(serving.stderr).toEndWith("\nstopping\n");
});

test("the examples of the README and of the guide do what they say", async () => {
  const read = async (path: string) => await Bun.file(join(import.meta.dir, "..", path)).text();
  const [readme, guide] = [await read("README.md"), await read("docs/guide/serve.md")];
  const body = /-d '(\{.*\})'/.exec(readme)?.[1] ?? "";
  const script = /```ts\n(import OpenAI.*?)```/s.exec(guide)?.[1] ?? "";
  await using serving = serve([STORIES, "--adapter", `pirate=${adapter}`, "--max-tokens", "8", "--temperature", "0"]);
  const address = await serving.address;
  const answer = async (body: string) => {
    const response = await fetch(`${address}/v1/chat/completions`, { method: "POST", body });
    const { model, choices } = v.parse(Answer, await response.json());
    return [model, choices[0].message.content];
  };
  expect(await answer(body)).toEqual(["pirate", expect.stringMatching(/\w/)]);
  const [, question] = /content: "([^"]+)"/.exec(script) ?? [];
  const same = JSON.stringify({ model: "pirate", messages: [{ role: "user", content: question }] });
  const program = [process.execPath, "-e", script.replace("http://127.0.0.1:8080", address)];
  const child = await runToEnd(program, { cwd: join(import.meta.dir, "..") });
  expect(await answer(same)).toEqual(["pirate", child.stdout]);
});

/** No resolver is asked for this: a part of a name has 63 characters at most (RFC 1035). */
const NO_NAME = `${"x".repeat(64)}.invalid`;

describe("refused at the start", () => {
  test.each<[string, readonly string[], number, string]>([
    ["an adapter for another model", ["--adapter", "x=foreign"], 3, "x_proj"],
    ["an adapter that is none", ["--adapter", "x=nothing"], 1, "nothing"],
    ["a name that is taken", ["--adapter", "storyteller=my-adapter"], 2, "another model is called storyteller already"],
    ["two of one name", ["--adapter", "my-adapter", "--adapter", "my-adapter"], 2, "is called my-adapter already"],
    ["no name", ["--adapter", "=my-adapter"], 2, "it must be NAME=A"],
    ["an empty key", ["--api-key", ""], 2, "--api-key is empty"],
    ["a generator without an adapter", ["--generator", "philox-v1"], 2, "--generator without an adapter"],
    ["a port that is none", ["--port", "70000"], 2, "--port"],
  ])("%s", async (_, args, status, message) => {
    const found = await randlora(["serve", STORIES, "--port", "0", ...args], { cwd: folder.path });
    expect([found.status, found.stdout]).toEqual([status, ""]);
    expect(found.stderr).toContain(message);
    expect(found.stderr).toContain("hint: ");
  });

  test.each([
    [["--host", "192.0.2.1", "--port", "0"], "192.0.2.1, port 0: this machine has no such address"],
    [["--host", NO_NAME, "--port", "0"], `${NO_NAME}, port 0: this machine has no such address\n`],
    [["--host", NO_NAME, "--port", "18391"], "no such address, or the port is taken"],
  ])("%p, which is not here", async (args, message) => {
    const { status, stdout, stderr } = await ended(spawn([STORIES, ...args]));
    expect([status, stdout, stderr]).toEqual([1, "", expect.stringContaining(message)]);
  });

  test("a generation_config.json that is none, before weights are loaded", async () => {
    const model = folder.at("misconfigured");
    await cp(STORIES, model, { recursive: true });
    await Bun.write(join(model, "generation_config.json"), '{"temperature": 9}');
    await Bun.write(join(model, "model.safetensors"), "no weights");
    const child = spawn([model, "--port", "0"]);
    expect(await child.stderr.text()).toContain("generation_config.json: temperature: ");
    expect(await child.exited).toBe(3);
  });

  test("a port that is taken", async () => {
    await using serving = serve([STORIES]);
    const { port } = new URL(await serving.address);
    const child = spawn([STORIES, "--port", port]);
    expect(await child.stderr.text()).toContain(`error: cannot listen on 127.0.0.1, port ${port}`);
    expect(await child.exited).toBe(1);
  });
});
