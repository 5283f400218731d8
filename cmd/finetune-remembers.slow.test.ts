// What a run remembers of its beginning, whatever has changed when it is resumed: commits, dates, the adapter that it began with.
import { expect, test } from "bun:test";
import { cp, rm, utimes } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { FinetuneFolder, LORA } from "./testing/finetune.ts";
import { spawned } from "./testing/program.ts";

const place = await FinetuneFolder.forTests();

async function finetune(...args: readonly string[]) {
  return await place.run({}, ...args);
}

test("a model on the Hub is resumed at the commit with which the run began, whatever was pushed since", async () => {
  const repository = place.at("hf", "hub", "models--org--stories");
  const [old = "", pushed = ""] = ["a", "b"].map((digit) => digit.repeat(40));
  await cp(STORIES, join(repository, "snapshots", old), { recursive: true });
  await Bun.write(join(repository, "refs", "main"), old);
  const env = { HF_HOME: place.at("hf"), HF_HUB_OFFLINE: "1" };
  const args = ["--data", "data.jsonl", ...LORA, "--schedule", "constant", "--out", "hub", "--json", "--quiet"];
  const first = await place.run(env, "org/stories", ...args, "--steps", "1");
  expect([first.status, first.stderr]).toEqual([0, ""]);
  expect(await Bun.file(place.at("hub", "run.json")).json()).toMatchObject({ model: "org/stories", commit: old });

  await cp(STORIES, join(repository, "snapshots", pushed), { recursive: true });
  await Bun.write(join(repository, "snapshots", pushed, "model.safetensors"), "other weights");
  await Bun.write(join(repository, "refs", "main"), pushed);
  const more = await place.run(env, "org/stories", "--resume", "hub", "--steps", "2", "--json", "--quiet");
  expect([more.status, more.stderr]).toEqual([0, ""]);
  expect(JSON.parse(more.stdout)).toMatchObject({ steps: 2 });

  // Whoever takes the run takes that commit, too, even beside a folder that is called as the model is.
  await Bun.write(place.at("org", "stories", "config.json"), "{}");
  await Bun.write(place.at("book.txt"), "Once upon a time there was a cat.");
  for (const command of [
    ["eval", "perplexity", "hub", "--file", "book.txt"],
    ["chat", "hub", "-p", "Once", "--max-tokens", "1"],
    ["budget", "hub", "--params", "1k"],
    ["inspect", "hub"],
    ["finetune", "--resume", "hub", "--steps", "3"],
  ]) {
    const found = await place.randlora(env, ...command, "--json", "--quiet");
    expect([command[0], found.status, found.stderr]).toEqual([command[0], 0, ""]);
    if (command[0] === "inspect") expect(JSON.parse(found.stdout)).toMatchObject({ fits: "org/stories", modules: 5 });
  }
});

test("a template that writes a date is told the run's, on whatever day data are copied and the run is resumed", async () => {
  const model = place.at("dated");
  await cp(STORIES, model, { recursive: true });
  const template = "{{ strftime_now('%F') }}{% for m in messages %}{{ m.content }}{% endfor %}";
  await Bun.write(join(model, "chat_template.jinja"), template);
  const line = `${JSON.stringify({ messages: [{ role: "assistant", content: "once" }] })}\n`;
  for (const [file, lines] of [
    ["chats.jsonl", 4],
    ["valid.jsonl", 1],
  ] as const) {
    await Bun.write(place.at(file), line.repeat(lines));
    await utimes(place.at(file), new Date(), new Date(2001, 1, 3));
  }
  const args = [
    "--data",
    "chats.jsonl",
    "--valid",
    "valid.jsonl",
    ...LORA,
    "--schedule",
    "constant",
    "--date",
    "2026-11-30",
    "--out",
    "day",
  ];
  const first = await finetune(model, ...args, "--steps", "1", "--quiet");
  expect([first.status, first.stderr]).toEqual([0, ""]);
  const { date } = await Bun.file(place.at("day", "run.json")).json();
  expect(date).toBe("2026-11-30");
  for (const file of ["chats.jsonl", "valid.jsonl"]) {
    await utimes(place.at(file), new Date(), new Date(2007, 1, 3));
  }
  // On the other side of the earth, where it is another day for half of it.
  for (const [zone, steps] of [
    ["Pacific/Kiritimati", "2"],
    ["Pacific/Niue", "3"],
  ] as const) {
    const more = await spawned(["finetune", "--resume", "day", "--steps", steps, "--quiet"], {
      cwd: place.path,
      env: { TZ: zone },
    });
    expect([more.status, more.stderr]).toEqual([0, ""]);
  }
});

test("an adapter on the Hub to go on from is that of the run's beginning; once a state is saved it is not needed", async () => {
  const trained = await finetune(STORIES, "--data", "data.jsonl", ...LORA, "--steps", "1", "--out", "first", "--quiet");
  expect(trained.status).toBe(0);
  const repository = place.at("hf", "hub", "models--org--adapter");
  const [old = "", pushed = ""] = ["c", "d"].map((digit) => digit.repeat(40));
  await cp(place.at("first", "adapter"), join(repository, "snapshots", old), { recursive: true });
  await Bun.write(join(repository, "refs", "main"), old);
  const env = { HF_HOME: place.at("hf"), HF_HUB_OFFLINE: "1" };
  const args = ["--data", "data.jsonl", "--init-adapter", "org/adapter", "--out", "on", "--json", "--quiet"];
  const first = await place.run(env, STORIES, ...args, "--schedule", "constant", "--steps", "1");
  expect([first.status, first.stderr]).toEqual([0, ""]);
  const run = await Bun.file(place.at("on", "run.json")).json();
  expect(run.adapter).toMatchObject({ init_adapter: "org/adapter", init_commit: old });

  // Pushed anew, and the run has no state yet.
  await cp(place.at("first", "adapter"), join(repository, "snapshots", pushed), { recursive: true });
  await Bun.write(join(repository, "snapshots", pushed, "adapter_model.safetensors"), "other weights");
  await Bun.write(join(repository, "refs", "main"), pushed);
  for (const made of ["state", "adapter"]) await rm(place.at("on", made), { recursive: true });
  const again = await place.run(env, "--resume", "on", "--json", "--quiet");
  expect([again.status, again.stderr]).toEqual([0, ""]);
  expect(JSON.parse(again.stdout).loss).toBe(JSON.parse(first.stdout).loss);

  await rm(repository, { recursive: true });
  const more = await place.run(env, "--resume", "on", "--steps", "2", "--json", "--quiet");
  expect([more.status, more.stderr]).toEqual([0, ""]);
  expect(JSON.parse(more.stdout)).toMatchObject({ steps: 2 });
});
