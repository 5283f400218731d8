import { expect, setDefaultTimeout, test } from "bun:test";
import { chmod, cp, mkdir, symlink } from "node:fs/promises";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { AdapterFolder, servedAdapter } from "./adapter-folder.ts";
import { AdaptersForTests, ask, clients, LOG, SERVED } from "./testing/adapters.ts";
import { serveStories, type TestServer, until } from "./testing/server.ts";

setDefaultTimeout(120_000);

const made = new AdaptersForTests();

const openFolder = (merge = false) =>
  AdapterFolder.create(made.at("adapters"), async (id, path) => {
    return await servedAdapter(
      made.model,
      { id, source: path, choice: { path, scale: 1 } },
      { ...SERVED, merge, log: LOG },
    );
  });

const post = async ({ address }: Pick<TestServer, "address">, path: string, body: unknown, key?: string) => {
  const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const answer = await fetch(`${address}/v1/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: answer.status, text: await answer.text() };
};

test("adapters of a folder are found by name; with the key they get other names, and are given up", async () => {
  await mkdir(made.at("adapters/empty"));
  await cp(made.adapters.get("poet")?.path ?? "", made.at("outside"), { recursive: true });
  await symlink(made.at("outside"), made.at("adapters/link"));
  await symlink("poet", made.at("adapters/alias"));
  await Bun.write(made.at("adapters/notes.txt"), "no adapter");
  await using serving = serveStories(made.model, {
    list: { folder: await openFolder() },
    most: 2,
    apiKey: "secret",
    apiKeys: [{ name: "guest", key: "guest" }],
  });
  await using named = serveStories(made.model, { adapters: made.adapters, apiKey: "secret" });
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
    made.at("outside"),
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
  const nothing = { status: 400, text: expect.stringContaining("lora_path: must not be empty") };
  expect(await load({ lora_name: "x", lora_path: "" }, "secret")).toMatchObject(nothing);
  expect(await load({ lora_name: "x", lora_path: "empty" }, "secret")).toMatchObject({ status: 400 });
  // Whoever names it is told what is wrong with it, and not where it is.
  const unusable = await ask(serving, { ...pirate, model: "empty" }).catch(String);
  expect(unusable).toMatch(/400 the adapter cannot be used: empty/);
  expect(unusable).not.toContain(made.path);
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
    await cp(made.adapters.get("poet")?.path ?? "", mixed.at("poet"), { recursive: true });
    await mkdir(mixed.at("closed"), { mode: 0 });
    const found = await AdapterFolder.create(mixed.path, () => Promise.reject(new Error("nobody asked")));
    expect([...(await found.adapters()).keys()]).toEqual(["poet"]);
    await chmod(mixed.at("closed"), 0o700);
  },
);

test("a name that is given to another adapter means that one, merged or not, and who asked before gets the former", async () => {
  for (const merge of [true, false]) {
    const list = { folder: await openFolder(merge) };
    await using serving = serveStories(made.model, { list, most: merge ? 0 : 8, apiKey: "secret", parallel: 1 });
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
  await using plain = serveStories(made.model, { apiKey: "secret" });
  const body = { lora_name: "x", lora_path: "pirate" };
  expect(await post(plain, "load_lora_adapter", body, "secret")).toMatchObject({
    status: 403,
    text: expect.stringContaining("--adapter-dir"),
  });
  await using open = serveStories(made.model, { list: { folder: await openFolder() } });
  expect(await post(open, "load_lora_adapter", body)).toMatchObject({ status: 403 });
  expect(await post(open, "unload_lora_adapter", { lora_name: "pirate" })).toMatchObject({ status: 403 });
});
