import { expect, setDefaultTimeout, test } from "bun:test";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { writePranc } from "../../adapters/testing/pranc.ts";
import { weights, writeAdapter } from "../../adapters/merge/testing/models.ts";
import { TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { itemAt } from "../../files/item-at.ts";
import { DEFAULT_SAMPLING } from "../generation/sampling.ts";
import { LanguageModel } from "../language-model.ts";
import { servedAdapter } from "./adapter-folder.ts";
import { isMerged } from "./job.ts";
import { AdaptersForTests, ask, clients, LOG, MODULES, SERVED } from "./testing/adapters.ts";
import { serveStories, until } from "./testing/server.ts";

setDefaultTimeout(120_000);

const made = new AdaptersForTests();

test("requests for different adapters are written together, each as alone, whichever are held and whichever must be merged", async () => {
  const path = await writePranc(made.at("pranc"), {
    seed: 3n,
    alpha: 60,
    coefficients: [0.5, 0.25],
    modules: MODULES,
  });
  const warned: string[] = [];
  const log = { ...LOG, warn: (line: string) => void warned.push(line) };
  const choice = { path, scale: 1 };
  const merged = await servedAdapter(made.model, { id: "clerk", source: path, choice }, { ...SERVED, log });
  expect(isMerged(merged)).toBe(true);
  expect(warned).toEqual([expect.stringContaining("PRANC's ΔW has no factors")]);
  const names = ["storyteller", ...made.adapters.keys(), "clerk"];
  const asked = clients(names);
  const alone: string[] = [];
  {
    await using serving = serveStories(made.model, { adapters: made.adapters, merged: [merged], parallel: 1 });
    for (const one of asked) alone.push(await ask(serving, one));
    expect(new Set(alone).size).toBeGreaterThan(8);
  }
  // Two may be held, so that they give way to each other all the time.
  await using serving = serveStories(made.model, { adapters: made.adapters, merged: [merged], most: 2 });
  expect(await Promise.all(asked.toReversed().map((one) => ask(serving, one)))).toEqual(alone.toReversed());
  expect(serving.failures).toEqual([]);
});

test("an adapter is placed beside a text of which nobody takes what was made", async () => {
  await using serving = serveStories(made.model, { adapters: made.adapters, parallel: 2 });
  const asked = { prompt: "Once upon", max_tokens: 80, temperature: 0, seed: 0, user: "quick" };
  const options = { sampling: { ...DEFAULT_SAMPLING, temperature: 0 }, maxTokens: 200 };
  const { signal } = new AbortController();
  const client = { network: "slow", user: "" };
  const base = itemAt(serving.models, 0);
  const slow = itemAt(
    serving.engine.submit([{ client, model: base, ids: [1, 5, 6], options: { ...options, signal } }]),
    0,
  );
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
  const path = await writeAdapter(made.at("normed"), { ...some, size: 0.05 }, { config, tensors: norm });
  const choice = { path, scale: 1 };
  const alone = await servedAdapter(quantized, { id: "clerk", source: path, choice }, { ...SERVED, log: LOG });
  expect(isMerged(alone)).toBe(true);
  const asked = clients(["clerk", "pirate", "sailor", "storyteller"]);
  await using serving = serveStories(quantized, { adapters: made.adapters, merged: [alone] });
  const texts: string[] = [];
  for (const one of asked) texts.push(await ask(serving, one));
  expect(new Set(texts).size).toBeGreaterThan(8);
  expect(await Promise.all(asked.map((one) => ask(serving, one)))).toEqual(texts);
  expect(serving.failures).toEqual([]);
});

test("nobody waits for another adapter's requests", async () => {
  await using serving = serveStories(made.model, { adapters: made.adapters });
  await serving.engine.rehearse(await serving.engine.placed.placeFirst(serving.models));
  const pieces: string[] = [];
  const names = [...made.adapters.keys()];
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

test("a request whose adapter has no place does not keep others from free slots", async () => {
  await using serving = serveStories(made.model, { adapters: made.adapters, most: 1, parallel: 3 });
  const left = new AbortController();
  // It cannot end before that: nobody takes what it makes.
  const options = { sampling: { ...DEFAULT_SAMPLING, temperature: 0 }, maxTokens: 400, signal: left.signal };
  const [, pirate] = serving.models; // the first adapter of all
  if (pirate === undefined) throw new Error("none is served");
  const job = { client: { network: "slow", user: "" }, model: pirate, ids: [1, 5, 6], options };
  const running = itemAt(serving.engine.submit([job]), 0);
  await running.next();
  let isOver = false;
  const one = { prompt: "Once", max_tokens: 4, temperature: 0, seed: 0 };
  const poet = ask(serving, { ...one, model: "poet", user: "poet" }).finally(() => (isOver = true));
  await until(() => serving.engine.load === 2);
  await ask(serving, { ...one, model: "storyteller", user: "other" });
  await ask(serving, { ...one, model: "pirate", user: "other" });
  expect(isOver).toBe(false);
  left.abort();
  expect(await poet).not.toBe("");
});
