import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { expectedStories, STORIES } from "../fixtures/stories/storyteller.ts";
import { cp } from "node:fs/promises";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { commandLine, randlora, spawned, startProgram } from "./testing/program.ts";
import { cleanEnvironment } from "../src/files/testing/process.ts";

const IMAGES = join(import.meta.dir, "../fixtures/shapes/model");

const folder = await TemporaryFolder.forTests();
beforeAll(async () => {
  await Bun.write(folder.at("bad.jinja"), "{% if %}");
});

const chat = (args: readonly string[], { cwd = folder.path } = {}) => randlora(["chat", ...args], { cwd });
/** With something on stdin. */
const answered = (args: readonly string[], stdin: string) => spawned(["chat", ...args], { cwd: folder.path, stdin });

test("a question after the model is the prompt, and wins over a configured one", async () => {
  const args = ["--raw", "--max-tokens", "5", "--temperature", "0", "--json"];
  const asked = await chat([STORIES, "-p", "Once upon a time", ...args]);
  await Bun.write(folder.at("prompt.yaml"), "chat: { prompt: Lily }\n");
  const { status, stdout } = await answered([STORIES, "Once upon a time", "--config", "prompt.yaml", ...args], "");
  expect([status, JSON.parse(stdout).tokens]).toEqual([0, JSON.parse(asked.stdout).tokens]);
  const twice = await answered([STORIES, "Once upon a time", "-p", "Lily", ...args], "");
  expect([twice.status, twice.stdout]).toEqual([2, ""]);
});

test("what comes on stdin is put before a question; -p does not wait for it", async () => {
  const args = [STORIES, "--raw", "--max-tokens", "5", "--temperature", "0", "--json"];
  const whole = await chat([...args, "-p", "Once upon\n\na time"]);
  const { tokens, prompt_tokens } = JSON.parse(whole.stdout);
  const piped = await answered([...args, "a time"], "Once upon\n");
  expect(JSON.parse(piped.stdout)).toMatchObject({ tokens, prompt_tokens });
  const open = Bun.spawn(commandLine("chat", ...args, "-p", "Once"), {
    env: cleanEnvironment(),
    stdin: "pipe",
    stdout: "pipe",
  });
  expect([await open.exited, JSON.parse(await open.stdout.text()).completion_tokens]).toEqual([0, 5]);
});

test("--beams finds a likelier text, the same each time, and takes nothing that samples", async () => {
  const args = [STORIES, "--raw", "--max-tokens", "30", "-p", "Once upon a time", "--json"];
  const [searched, again, greedy] = await Promise.all(
    [
      ["--beams", "4"],
      ["--beams", "4", "--temperature", "0"],
      ["--temperature", "0"],
    ].map(async (more) => {
      const { stdout, stderr, status } = await chat([...args, ...more]);
      expect([stderr, status]).toEqual(["", 0]);
      return JSON.parse(stdout);
    }),
  );
  expect(searched).toMatchObject({ prompt_tokens: 6, completion_tokens: 30, finish_reason: "length" });
  expect(again.text).toBe(searched.text);
  expect(greedy.text).not.toBe(searched.text);
  for (const [flag, value] of [
    ["temperature", "0.5"],
    ["top-k", "3"],
    ["seed", "1"],
  ] as const) {
    const { stderr, status } = await chat([...args, "--beams", "4", `--${flag}`, value]);
    expect([stderr.split("\n")[0], status]).toEqual([
      `error: --beams searches without sampling, and so takes no --${flag}`,
      2,
    ]);
  }
});

test("--json gives transformers' ids, and exactly the keys that are promised", async () => {
  const [{ text, ids, greedy_ids: tokens, greedy_text: answer }] = await expectedStories();
  const args = [STORIES, "--raw", "--temperature", "0", "--max-tokens", "64", "-p", text, "--json"];
  const { stdout, stderr, status } = await chat(args);
  expect([stderr, status]).toEqual(["", 0]);
  expect(JSON.parse(stdout)).toEqual({
    text: answer,
    tokens,
    prompt_tokens: ids.length,
    completion_tokens: 64,
    finish_reason: "length",
    timings: {
      load_s: expect.any(Number),
      prefill_s: expect.any(Number),
      decode_s: expect.any(Number),
      prefill_tokens_per_s: expect.any(Number),
      decode_tokens_per_s: expect.any(Number),
    },
  });
});

test("a text on stdin is answered, plain, with a newline at its end", async () => {
  const [{ text, greedy_text: answer }] = await expectedStories();
  const args = [STORIES, "--raw", "--temperature", "0", "--stop", "yellow cake"];
  const { stdout, stderr, status } = await answered(args, text);
  expect(stdout).toBe(`${answer.slice(0, answer.indexOf("yellow cake"))}\n`);
  expect([stderr, status]).toEqual(["", 0]);
});

test("the same seed gives the same text, another one another", async () => {
  const say = async (seed: string) =>
    (await chat([STORIES, "--raw", "-p", "Once", "--max-tokens", "30", "--seed", seed])).stdout;
  const first = await say("1");
  expect(await say("1")).toBe(first);
  expect(await say("2")).not.toBe(first);
});

test("a template file and its variables are used, and --system", async () => {
  await Bun.write(folder.at("t.jinja"), "{% for m in messages %}{{ m.content }}{{ end }}{% endfor %}");
  const args = ["--chat-template", "t.jinja", "--chat-template-kwargs", '{"end": "!"}', "--system", "Once upon"];
  const { stdout } = await chat([STORIES, ...args, "-p", "a time", "--json", "--max-tokens", "1"]);
  const tokens = JSON.parse(
    (await randlora(["tokenize", STORIES, "--no-special", "-p", "Once upon!a time!", "--json"])).stdout,
  );
  expect(JSON.parse(stdout).prompt_tokens).toBe(tokens.ids.length);
});

test("--raw reads no template, and so a broken one does no harm", async () => {
  const model = folder.at("broken-template");
  await cp(STORIES, model, { recursive: true });
  await Bun.write(join(model, "chat_template.jinja"), "{{ a ");
  const args = [model, "--max-tokens", "1", "--temperature", "0", "-p", "Once"];
  expect(await chat([...args, "--raw"])).toEqual({ status: 0, stdout: "upon\n", stderr: "" });
  expect(await chat(args)).toMatchObject({ status: 3, stderr: expect.stringContaining("line 1 of the chat template") });
});

test("a model without a chat template continues texts, and says so", async () => {
  const bare = folder.at("bare");
  await cp(STORIES, bare, { recursive: true });
  const path = join(bare, "tokenizer_config.json");
  const { chat_template: _, ...rest } = await Bun.file(path).json();
  await Bun.write(path, JSON.stringify(rest));
  const args = ["-p", "Once upon a time", "--max-tokens", "5", "--json", "--temperature", "0"];
  const { stdout, stderr, status } = await chat([bare, ...args]);
  expect(stderr).toContain("no chat template: texts are continued as they stand");
  expect(status).toBe(0);
  expect(stdout).toBe(
    (await chat([STORIES, "--raw", ...args])).stdout.replace(/"timings".*/s, stdout.slice(stdout.indexOf('"timings"'))),
  );
  const refused = await chat([bare, "--system", "Be kind.", "-p", "x"]);
  expect([refused.status, refused.stderr]).toEqual([2, expect.stringContaining("hint: give --chat-template FILE")]);
});

test("Ctrl-C ends the answer where it is", async () => {
  const args = [STORIES, "--raw", "--shift", "--temperature", "0", "-p", "Once upon a time"];
  const child = startProgram(["chat", ...args]);
  let shown = "";
  for await (const bytes of child.stdout) {
    shown += new TextDecoder().decode(bytes);
    if (shown.length <= 20) continue;
    child.kill("SIGINT");
    break;
  }
  expect(await child.exited).toBe(130);
  expect(await child.stderr.text()).toBe("");
});

test("--profile tells where the time went", async () => {
  const args = [STORIES, "--raw", "-p", "Once", "--max-tokens", "2", "--profile", "--json"];
  const { stdout } = await chat(args);
  const { profile } = JSON.parse(stdout);
  expect(profile.length).toBeGreaterThan(3);
  expect(profile[0]).toEqual({ kernel: expect.any(String), calls: expect.any(Number), seconds: expect.any(Number) });
});

test("without MODEL and without runs, the model inside the program answers", async () => {
  await using empty = await TemporaryFolder.create();
  const result = await chat(["-p", "Who are you?", "--temperature", "0"], { cwd: empty.path });
  expect(result).toEqual({
    status: 0,
    stdout: "I am Pip. I know the island of Tarn and everyone who lives here.\n",
    stderr: "no run or merged model in this folder: this is the small model inside the program\n",
  });
});

describe("refused", () => {
  test.each<[string, readonly string[], number, string]>([
    ["no prompt", [STORIES], 2, 'give it with -p "…", or on stdin'],
    ["--raw with a template", [STORIES, "--raw", "--system", "x", "-p", "x"], 2, "leave --raw out"],
    ["--raw with its variables", [STORIES, "--raw", "--chat-template-kwargs", "{}", "-p", "x"], 2, "leave --raw out"],
    [
      "a generator without an adapter",
      [STORIES, "--generator", "philox-v1", "-p", "x"],
      2,
      "--generator without an adapter",
    ],
    ["a scale without an adapter", [STORIES, "--scale", "2", "-p", "x"], 2, "--scale without an adapter"],
    ["a folder without tokenizer", [join(STORIES, ".."), "-p", "x"], 1, "tokenizer.json: no such file"],
    ["an image model", [IMAGES, "-p", "x"], 3, "config.json: an image model, where a language model is needed"],
    [
      "a prompt beyond the context",
      [STORIES, "--raw", "--context", "4", "-p", "one two three"],
      3,
      "the context ends at 4",
    ],
    [
      "a template that is none",
      [STORIES, "--chat-template", folder.at("bad.jinja"), "-p", "x"],
      3,
      "of the chat template",
    ],
    ["no such model, and no prompt", ["runs/nothing"], 1, "runs/nothing: no such file or folder"],
    ["no such model", ["nothing", "-p", "x"], 1, "nothing: no such"],
    ["a question without MODEL", ["Why is the sky blue?"], 2, 'MODEL comes first: randlora chat MODEL "…"'],
    ["a question of one word", ["Hi"], 1, 'MODEL comes first: randlora chat MODEL "…"'],
    ["no such adapter", [STORIES, "--adapter", "nothing", "-p", "x"], 1, "nothing"],
  ])("%s", async (_, args, status, message) => {
    await using empty = await TemporaryFolder.create();
    const result = await chat(args, { cwd: empty.path });
    expect(result).toEqual({ status, stdout: "", stderr: expect.stringContaining(message) });
  });
});
