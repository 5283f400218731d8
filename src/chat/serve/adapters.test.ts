import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, cp, mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { writeLora } from "../../adapters/testing/lora.ts";
import { writeDora } from "../../adapters/testing/magnitudes.ts";
import { writePranc } from "../../adapters/testing/pranc.ts";
import { weights, writeAdapter } from "../../adapters/merge/testing/models.ts";
import { TEST_DEVICE } from "../../compute/device/testing/open.ts";
import type { AdapterChoice } from "../../adapters/merge/in-memory/weights.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { itemAt } from "../../files/item-at.ts";
import { DEFAULT_SAMPLING } from "../generation/sampling.ts";
import { LanguageModel } from "../language-model.ts";
import { AdapterFolder } from "./adapter-folder.ts";
import { servedAdapter } from "./served-adapter.ts";
import { isMerged } from "./served-model.ts";
import { loadStoriesModel, serveStories, type TestServer, until } from "./testing/server.ts";

setDefaultTimeout(120_000);

const MODULES = { "model.layers.0.self_attn.q_proj": [64, 64], "model.layers.4.mlp.down_proj": [64, 172] } as const;

let folder: TemporaryFolder;
let model: LanguageModel;
let adapters: ReadonlyMap<string, AdapterChoice>;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  await mkdir(folder.at("adapters"));
  const at = (name: string) => folder.at(join("adapters", name));
  const lora = { r: 4, alpha: 40, modules: MODULES };
  const randlora = { ...lora, alpha: 80, size: 0.05 };
  const paths = {
    pirate: await writeAdapter(at("pirate"), { ...randlora, seed: 3 }),
    poet: await writeAdapter(at("poet"), { ...randlora, seed: 4 }),
    sailor: await writeLora(at("sailor"), { ...lora, seed: 5 }),
    cook: await writeDora(at("cook"), { ...lora, seed: 6 }),
  };
  adapters = new Map(Object.entries(paths).map(([name, path]) => [name, { path, scale: 1 }]));
  model = await loadStoriesModel();
}, 120_000);
afterAll(async () => {
  await model[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

const SERVED = { base: "storyteller", merge: false, generator: undefined, wantsTemplate: true } as const;
const LOG = { info: () => {}, warn: () => {} };

const openFolder = (merge = false) =>
  AdapterFolder.create(folder.at("adapters"), async (id, path) => {
    return await servedAdapter(model, { id, source: path, choice: { path, scale: 1 } }, { ...SERVED, merge, log: LOG });
  });

/** Ten clients, who ask for other lengths, and some by chance. */
const clients = (names: readonly string[]) =>
  Array.from({ length: 10 }, (_, at) => ({
    model: names[at % names.length] ?? "",
    prompt: `${"Once upon a time ".repeat(1 + (at % 3))}there was ${at}`,
    max_tokens: 12 + 5 * (at % 4),
    temperature: at % 2 === 0 ? 0 : 1.2,
    seed: at,
    user: `client ${at}`,
  }));

async function ask({ client }: TestServer, body: ReturnType<typeof clients>[number]): Promise<string> {
  return (await client.completions.create(body)).choices[0]?.text ?? "";
}

const post = async ({ address }: Pick<TestServer, "address">, path: string, body: unknown, key?: string) => {
  const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const answer = await fetch(`${address}/v1/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: answer.status, text: await answer.text() };
};

test("requests for different adapters are written together, each as alone, whichever are held and whichever must be merged", async () => {
  const path = await writePranc(folder.at("pranc"), {
    seed: 3n,
    alpha: 60,
    coefficients: [0.5, 0.25],
    modules: MODULES,
  });
  const warned: string[] = [];
  const log = { ...LOG, warn: (line: string) => void warned.push(line) };
  const choice = { path, scale: 1 };
  const merged = await servedAdapter(model, { id: "clerk", source: path, choice }, { ...SERVED, log });
  expect(isMerged(merged)).toBe(true);
  expect(warned).toEqual([expect.stringContaining("PRANC's ΔW has no factors")]);
  const names = ["storyteller", ...adapters.keys(), "clerk"];
  const asked = clients(names);
  const alone: string[] = [];
  {
    await using serving = serveStories(model, { adapters, merged: [merged], parallel: 1 });
    for (const one of asked) alone.push(await ask(serving, one));
    expect(new Set(alone).size).toBeGreaterThan(8);
  }
  // Two may be held, so that they give way to each other all the time.
  await using serving = serveStories(model, { adapters, merged: [merged], most: 2 });
  expect(await Promise.all(asked.map((one) => ask(serving, one)))).toEqual(alone);
  expect(await Promise.all(asked.toReversed().map((one) => ask(serving, one)))).toEqual(alone.toReversed());
  expect(serving.failures).toEqual([]);
});

test("an adapter is placed beside a text of which nobody takes what was made", async () => {
  await using serving = serveStories(model, { adapters, parallel: 2 });
  const asked = { prompt: "Once upon", max_tokens: 80, temperature: 0, seed: 0, user: "quick" };
  const options = { sampling: { ...DEFAULT_SAMPLING, temperature: 0 }, maxTokens: 200 };
  const { signal } = new AbortController();
  const client = { network: "slow", user: "" };
  const base = itemAt(serving.models, 0);
  const slow = serving.engine.submit({ client, model: base, ids: [1, 5, 6], options: { ...options, signal } });
  await slow.next();
  const plain = await ask(serving, { ...asked, model: "storyteller" });
  expect(await ask(serving, { ...asked, model: "pirate" })).not.toBe(plain);
  expect(serving.engine.load).toBe(1);
});

test("quantized weights are shared by adapters as others are; one that replaces a norm has them for itself", async () => {
  const location = { folder: STORIES, weights: undefined };
  await using quantized = await LanguageModel.load({ location, quantize: "q8", device: TEST_DEVICE });
  const some = { r: 4, alpha: 40, seed: 7, modules: MODULES };
  const norm = { "base_model.model.model.norm.weight": weights("F32", [64], 6) };
  const config = { modules_to_save: ["norm"] };
  const path = await writeAdapter(folder.at("normed"), { ...some, size: 0.05 }, { config, tensors: norm });
  const choice = { path, scale: 1 };
  const alone = await servedAdapter(quantized, { id: "clerk", source: path, choice }, { ...SERVED, log: LOG });
  expect(isMerged(alone)).toBe(true);
  const asked = clients(["clerk", "pirate", "sailor", "storyteller"]);
  await using serving = serveStories(quantized, { adapters, merged: [alone] });
  const texts: string[] = [];
  for (const one of asked) texts.push(await ask(serving, one));
  expect(new Set(texts).size).toBeGreaterThan(8);
  expect(await Promise.all(asked.map((one) => ask(serving, one)))).toEqual(texts);
  expect(serving.failures).toEqual([]);
});

test("nobody waits for another adapter's requests", async () => {
  await using serving = serveStories(model, { adapters });
  await serving.engine.rehearse(serving.models);
  const pieces: string[] = [];
  const names = [...adapters.keys()];
  const read = async (name: string): Promise<void> => {
    const body = { model: name, prompt: "Once", max_tokens: 60, temperature: 1, stream: true as const };
    for await (const { choices } of await serving.client.completions.create(body)) {
      if (choices[0]?.text !== "") pieces.push(name);
    }
  };
  await Promise.all(names.map(read));
  const firsts = names.map((name) => pieces.indexOf(name));
  const lasts = names.map((name) => pieces.lastIndexOf(name));
  expect(Math.max(...firsts)).toBeLessThan(Math.min(...lasts));
});

test("adapters of a folder are found by name; with the key they get other names, and are given up", async () => {
  await mkdir(folder.at("adapters/empty"));
  await cp(adapters.get("poet")?.path ?? "", folder.at("outside"), { recursive: true });
  await symlink(folder.at("outside"), folder.at("adapters/link"));
  await symlink("poet", folder.at("adapters/alias"));
  await Bun.write(folder.at("adapters/notes.txt"), "no adapter");
  await using serving = serveStories(model, {
    list: { folder: await openFolder() },
    most: 2,
    apiKey: "secret",
    apiKeys: [{ name: "guest", key: "guest" }],
  });
  await using named = serveStories(model, { adapters, apiKey: "secret" });
  const [, ...asked] = clients(["", "pirate", "poet", "sailor", "cook"]);
  const wanted = await Promise.all(asked.filter(({ model }) => model !== "").map((one) => ask(named, one)));
  expect(await Promise.all(asked.filter(({ model }) => model !== "").map((one) => ask(serving, one)))).toEqual(wanted);
  const listed = async () => (await serving.client.models.list()).data.map(({ id }) => id);
  const there = ["storyteller", "pirate", "poet", "sailor", "cook", "alias"];
  expect((await listed()).toSorted()).toEqual(there.toSorted());

  const load = (fields: object, key?: string) => post(serving, "load_lora_adapter", fields, key);
  const unload = (lora_name: string, key?: string) => post(serving, "unload_lora_adapter", { lora_name }, key);
  const captain = { lora_name: "captain", lora_path: "pirate" };
  expect(await load(captain)).toMatchObject({ status: 401 });
  expect(await load(captain, "guest")).toMatchObject({ status: 403 });
  expect(await unload("pirate", "guest")).toMatchObject({ status: 403 });
  expect(await load(captain, "secret")).toEqual({
    status: 200,
    text: "Success: LoRA adapter 'captain' added successfully.",
  });
  expect(await load(captain, "secret")).toMatchObject({ status: 400, text: expect.stringContaining("served already") });
  expect(await load({ ...captain, load_inplace: true }, "secret")).toMatchObject({ status: 400 });
  const [pirate] = asked;
  if (pirate === undefined) throw new RangeError("no client");
  expect(await ask(serving, { ...pirate, model: "captain" })).toBe(wanted[0] ?? "");

  // Nothing outside of the folder is looked at, by whatever way.
  for (const lora_path of [
    "../outside",
    folder.at("outside"),
    "link",
    "link/../../outside",
    ".",
    "..",
    "/etc",
    "no",
    "\0",
  ]) {
    const refused = { status: 404, text: expect.stringContaining("in the folder of adapters") };
    expect(await load({ lora_name: "x", lora_path }, "secret")).toMatchObject(refused);
  }
  expect(await load({ lora_name: "x", lora_path: "empty" }, "secret")).toMatchObject({ status: 400 });
  // Whoever names it is told what is wrong with it, and not where it is.
  const unusable = await ask(serving, { ...pirate, model: "empty" }).catch(String);
  expect(unusable).toMatch(/400 the adapter cannot be used: empty/);
  expect(unusable).not.toContain(folder.path);
  for (const name of ["link", "notes.txt", "../outside", "pirate/../poet", "nobody", STORIES, ""]) {
    const body = JSON.stringify({ model: name, prompt: "Once", max_tokens: 1 });
    const headers = { authorization: "Bearer secret" };
    const { status } = await fetch(`${serving.address}/v1/completions`, { method: "POST", headers, body });
    expect(status).toBe(404);
  }

  // What is being written with an adapter that is given up is written to its end.
  const long = { ...pirate, model: "captain", max_tokens: 200, temperature: 0 };
  const writing = ask(serving, long);
  await until(() => serving.engine.load === 1);
  expect(await unload("captain", "secret")).toMatchObject({ status: 200 });
  expect(await unload("captain", "secret")).toMatchObject({ status: 404 });
  expect(await unload("storyteller", "secret")).toMatchObject({ status: 404 });
  expect(await listed()).not.toContain("captain");
  expect(await ask(serving, { ...pirate, model: "poet" })).not.toBe("");
  expect(await writing).toBe(await ask(named, { ...long, model: "pirate" }));
  expect(serving.failures).toEqual([]);
});

test.skipIf(process.platform === "win32" || process.getuid?.() === 0)(
  "a folder that may not be read is left out of the list",
  async () => {
    await using mixed = await TemporaryFolder.create();
    await cp(adapters.get("poet")?.path ?? "", mixed.at("poet"), { recursive: true });
    await mkdir(mixed.at("closed"), { mode: 0 });
    const found = await AdapterFolder.create(mixed.path, () => Promise.reject(new Error("nobody asked")));
    expect([...(await found.adapters()).keys()]).toEqual(["poet"]);
    await chmod(mixed.at("closed"), 0o700);
  },
);

test("a name that is given to another adapter means that one, merged or not, and who asked before gets the former", async () => {
  for (const merge of [true, false]) {
    const list = { folder: await openFolder(merge) };
    await using serving = serveStories(model, { list, most: merge ? 0 : 8, apiKey: "secret", parallel: 1 });
    const load = async (path: string) =>
      await post(serving, "load_lora_adapter", { lora_name: "one", lora_path: path }, "secret");
    const say = (name: string, length = 12) =>
      ask(serving, { model: name, prompt: "Once", max_tokens: length, temperature: 0, seed: 1, user: "" });
    const [pirate, poet] = [await say("pirate", 100), await say("poet")];
    await load("pirate");
    const [running, waiting] = [say("one", 100), say("one", 100)];
    await until(() => serving.engine.load === 2);
    await post(serving, "unload_lora_adapter", { lora_name: "one" }, "secret");
    expect(await load("poet")).toMatchObject({ status: 200 });
    expect(await say("one")).toBe(poet);
    expect([await running, await waiting]).toEqual([pirate, pirate]);
    expect(serving.failures).toEqual([]);
  }
});

test("without a folder nothing is loaded, and without a key of the server's own nobody may", async () => {
  await using plain = serveStories(model, { apiKey: "secret" });
  const body = { lora_name: "x", lora_path: "pirate" };
  expect(await post(plain, "load_lora_adapter", body, "secret")).toMatchObject({
    status: 403,
    text: expect.stringContaining("--adapter-dir"),
  });
  await using open = serveStories(model, { list: { folder: await openFolder() } });
  expect(await post(open, "load_lora_adapter", body)).toMatchObject({ status: 403 });
  expect(await post(open, "unload_lora_adapter", { lora_name: "pirate" })).toMatchObject({ status: 403 });
});
