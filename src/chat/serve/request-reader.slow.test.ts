import { afterAll, expect, setDefaultTimeout, spyOn, test } from "bun:test";
import { cp, rm } from "node:fs/promises";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { ChatTemplate } from "../../data/text/chat-template.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { DEFAULT_SAMPLING } from "../generation/sampling.ts";
import { type ReaderLimits, RequestReader } from "./request-reader.ts";
import { understand } from "./understand.ts";

setDefaultTimeout(60_000);

/** What it does depends on what is said: it takes a while, it fills the memory, or it is a template like others. */
const TEMPLATE = `{% set said = messages[0].content %}{% set ns = namespace(l=[]) %}
{%- if said == "long" %}{% for i in range(10000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}{% endif %}
{%- if said == "large" %}{% for i in range(15) %}{% set ns.l = [ns.l, range(90000)] %}{% endfor %}
{%- for i in range(100) %}{% for j in range(1000) %}{% endfor %}{% endfor %}{% endif %}
{%- if said == "refused" %}{{ raise_exception("not this") }}{% endif %}
{%- for message in messages %}{{ message.content }}{% endfor %}`;

const tokenizer = await loadTokenizer(STORIES);
const model = {
  folder: STORIES,
  tokenizer,
  template: new ChatTemplate(TEMPLATE, "/somewhere/test.jinja"),
  decoder: { config: { vocabularySize: tokenizer.vocabSize } },
};
const OPTIONS = {
  prompts: { system: undefined, templateVariables: {}, context: 1000 },
  defaults: { sampling: DEFAULT_SAMPLING, maxTokens: undefined },
  onFailure: () => {},
};
const RAW = { byDefault: false, ids: [] };
const resources = new DisposableStack();
afterAll(() => resources.dispose());

function reader(limits?: ReaderLimits): RequestReader {
  return resources.use(new RequestReader(model, OPTIONS, limits));
}

const bodyOf = (fields: object) => new TextEncoder().encode(JSON.stringify(fields));
const says = (content: string) => bodyOf({ seed: 1, messages: [{ role: "user", content }] });
const read = (from: RequestReader, body: Uint8Array, signal = new AbortController().signal) =>
  from.ask({ kind: "chat", body, raw: RAW }, "settings", "network", signal);

test("gives what reading it here gives: prompts, grammars, errors", async () => {
  const one = reader();
  const schema = { type: "object", properties: { a: { type: "string", pattern: "^[a-c]+$" } } };
  const format = { type: "json_schema", json_schema: { schema } };
  const bodies = [
    says("Once upon a time"),
    bodyOf({ seed: 1, messages: [{ role: "user", content: "One" }], response_format: format, logit_bias: { 5: 1 } }),
  ];
  for (const body of bodies) expect(await read(one, body)).toEqual(await understand(model, "chat", body, RAW, OPTIONS));
  const wrong = read(one, bodyOf({ messages: [{ role: "nobody" }] }));
  expect(await wrong.catch((error: unknown) => error)).toMatchObject({ name: "ApiError", status: 400 });
  const none = read(one, new TextEncoder().encode("{"));
  expect(await none.catch((error: unknown) => error)).toMatchObject({ message: "the body is not JSON in UTF-8" });
  const refused = await read(one, says("refused")).catch((error: unknown) => error);
  expect(refused).toMatchObject({ status: 400, message: "test.jinja: line 5 of the chat template: not this" });
  expect((await one.ask({ kind: "vocabulary" }, "ends")).size).toBe(tokenizer.vocabSize);
});

test("where one call is wanted at most, what ends it ends the answer", async () => {
  const template = new ChatTemplate("{{ tools }}<tool_call>{{ messages }}", "tools.jinja");
  const stopsOf = async (several: boolean, stop: string[]): Promise<readonly string[]> => {
    const tools = [{ type: "function", function: { name: "f" } }];
    const fields = { messages: [{ role: "user", content: "One" }], tools, parallel_tool_calls: several, stop };
    const { settings } = await understand({ ...model, template }, "chat", bodyOf(fields), RAW, OPTIONS);
    return settings.stops;
  };
  expect(await stopsOf(true, ["x"])).toEqual(["x"]);
  expect(await stopsOf(false, ["x"])).toEqual(["x", "</tool_call>"]);
});

test("what takes too long, or too much memory, is ended and refused; others are answered", async () => {
  for (const [said, limits] of [
    ["long", { seconds: 0.2 }],
    ["large", { bytes: 2 ** 24 }],
  ] as const) {
    const one = reader(limits);
    await read(one, says("One"));
    const [first, second, third] = await Promise.allSettled(
      [says("One"), says(said), says("Two")].map((body) => read(one, body)),
    );
    expect(second).toMatchObject({
      status: "rejected",
      reason: { status: 400, message: expect.stringMatching("takes more than") },
    });
    expect([first?.status, third?.status]).toEqual(["fulfilled", "fulfilled"]);
  }
});

/** Of the processes that read requests for this one. */
function processes(): number[] {
  const { stdout } = Bun.spawnSync(["ps", "-Ao", "pid=,ppid=,args="]);
  const lines = stdout
    .toString()
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
  return lines
    .filter(([, parent, ...args]) => Number(parent) === process.pid && args.join(" ").includes("reader-process"))
    .map(([pid]) => Number(pid));
}

test("where the system ends the process between two requests, neither is lost; one that cannot start is not left running", async () => {
  const before = processes();
  const other = Bun.spawn(["true"], { ipc: () => {} });
  const prototype: { send: (message: object) => void } = Object.getPrototypeOf(other);
  using sent = spyOn(prototype, "send");
  const one = reader();
  await read(one, says("One"));
  const [pid] = processes().filter((pid) => !before.includes(pid));
  if (pid === undefined) throw new Error("no process");
  process.kill(pid, "SIGKILL");
  while (processes().includes(pid)) await Bun.sleep(10);
  expect((await read(one, says("Two"))).prompts).toHaveLength(1);
  // The second one does not make the vocabulary's tree unless it is asked for it.
  const starts = sent.mock.calls.flatMap(([message]) => ("ahead" in message ? [message.ahead] : []));
  sent.mockRestore();
  expect(starts).toEqual([true, false]);

  const running = processes();
  const broken = resources.use(new RequestReader({ ...model, folder: "/nowhere" }, OPTIONS));
  for (let at = 0; at < 2; at++) await expect(read(broken, says("One"))).rejects.toThrow("did not start");
  broken[Symbol.dispose]();
  while (processes().some((pid) => !running.includes(pid))) await Bun.sleep(10);
});

test("while one network's request takes long others' are read; where all processes are busy the one that takes longest ends", async () => {
  const before = processes();
  const one = reader({ seconds: 60, secondsWanted: 1 });
  const ask = (network: string) =>
    one.ask({ kind: "chat", body: says("One"), raw: RAW }, "settings", network, new AbortController().signal);
  const stopNew = (): void => {
    for (const pid of processes().filter((pid) => !before.includes(pid))) process.kill(pid, "SIGSTOP");
  };
  await ask("a");
  stopNew();
  const ended: string[] = [];
  const long = ask("a").finally(() => ended.push("long"));
  const own = ask("a").finally(() => ended.push("own"));
  expect((await ask("b")).prompts).toHaveLength(1);
  expect(ended).toEqual([]);
  stopNew();
  const other = ask("c").catch((error: unknown) => error);
  const wanted = ask("d");
  await expect(long).rejects.toMatchObject({ status: 503, message: expect.stringContaining("while others wait") });
  for (const { prompts } of await Promise.all([wanted, own])) expect(prompts).toHaveLength(1);
  one[Symbol.dispose]();
  expect(await other).toMatchObject({ status: 503 });
  while (processes().some((pid) => !before.includes(pid))) await Bun.sleep(10);
});

test("a second process that cannot start is said once, and not tried again and again", async () => {
  await using folder = await TemporaryFolder.create();
  await cp(STORIES, folder.path, { recursive: true });
  const failures: unknown[] = [];
  const before = processes();
  const options = { ...OPTIONS, onFailure: (error: unknown) => void failures.push(error) };
  const one = resources.use(
    new RequestReader({ ...model, folder: folder.path }, options, { seconds: 60, secondsWanted: 60 }),
  );
  await read(one, says("One"));
  await rm(folder.path, { recursive: true });
  const started = () => processes().filter((pid) => !before.includes(pid));
  const [first = NaN] = started();
  process.kill(first, "SIGSTOP");
  const asked = ["a", "b"].map((network) =>
    one.ask({ kind: "chat", body: says("One"), raw: RAW }, "settings", network, new AbortController().signal),
  );
  while (failures.length === 0) await Bun.sleep(10);
  for (let at = 0; at < 20; at++) {
    expect(started()).toEqual([first]);
    await Bun.sleep(20);
  }
  process.kill(first, "SIGCONT");
  for (const { prompts } of await Promise.all(asked)) expect(prompts).toHaveLength(1);
  expect(failures).toMatchObject([{ message: "the process that reads requests did not start" }]);
});

test.skipIf(process.platform !== "linux")(
  "what the tree of a large vocabulary takes is no request's: its process reads on",
  async () => {
    await using folder = await TemporaryFolder.create();
    await cp(STORIES, folder.path, { recursive: true });
    const file = await Bun.file(folder.at("tokenizer.json")).json();
    const vocabularySize = 100_000;
    for (let id = tokenizer.vocabSize; id < vocabularySize; id++) file.model.vocab[`token ${id}`] = id;
    await Bun.write(folder.at("tokenizer.json"), JSON.stringify(file));
    const before = processes();
    const large = { ...model, folder: folder.path, decoder: { config: { vocabularySize } } };
    const one = resources.use(new RequestReader(large, OPTIONS, { bytes: 2 ** 29, seconds: 60 }));
    await read(one, says("One"));
    const started = processes().filter((pid) => !before.includes(pid));
    expect(started).toHaveLength(1);
    expect((await one.ask({ kind: "vocabulary" }, "ends")).size).toBe(vocabularySize);
    for (let at = 0; at < 3; at++) await read(one, says("Two"));
    expect(processes().filter((pid) => !before.includes(pid))).toEqual(started);
  },
);

test("whoever leaves before their turn is not read for, and nobody is when it is closed", async () => {
  const one = reader();
  const left = new AbortController();
  const [first, second] = [read(one, says("One")), read(one, says("Two"), left.signal)];
  left.abort(new Error("gone"));
  await expect(second).rejects.toThrow("gone");
  await first;
  one[Symbol.dispose]();
  await expect(read(one, says("One"))).rejects.toMatchObject({ status: 503 });
});
