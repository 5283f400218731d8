// Adapters of experts of a mixture behind a server.
import { expect, setDefaultTimeout, test } from "bun:test";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { writeAdapter } from "../../adapters/merge/testing/models.ts";
import { writeLora } from "../../adapters/testing/lora.ts";
import { TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { itemAt } from "../../files/item-at.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { writeArchitecture } from "../../models/testing/architectures.ts";
import { LanguageModel } from "../language-model.ts";
import { ask, clients } from "./testing/adapters.ts";
import { serveStories } from "./testing/server.ts";

setDefaultTimeout(120_000);

const folder = await TemporaryFolder.forTests();

test("each request has the text that it has alone", async () => {
  const path = folder.at("model");
  await writeArchitecture(path, "qwen3_moe", 2, { vocab_size: 512, num_experts: 8, max_position_embeddings: 256 });
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) await copyFile(join(STORIES, name), join(path, name));
  const experts = Array.from({ length: 8 }, (_, at) => `model.layers.1.mlp.experts.${at}.down_proj`);
  const modules = Object.fromEntries(experts.map((name) => [name, [32, 32] as const]));
  const randlora = await writeAdapter(folder.at("randlora"), { r: 4, alpha: 80, seed: 3, size: 0.3, modules });
  const lora = await writeLora(folder.at("lora"), { r: 4, alpha: 8, seed: 5, modules });
  const adapters = new Map(Object.entries({ randlora, lora }).map(([name, at]) => [name, { path: at, scale: 1 }]));
  await using model = await LanguageModel.load({ location: { folder: path, weights: undefined }, device: TEST_DEVICE });
  await using serving = serveStories(model, { adapters });
  const asked = clients(["storyteller", "randlora", "lora"]);
  const alone: string[] = [];
  for (const one of asked) alone.push(await ask(serving, one));
  // Adapters change what is written.
  const same = itemAt(asked, 0);
  const ofOne = [];
  for (const id of ["storyteller", "randlora", "lora"]) ofOne.push(await ask(serving, { ...same, model: id }));
  expect(new Set(ofOne).size).toBe(3);
  expect(await Promise.all(asked.map((one) => ask(serving, one)))).toEqual(alone);
  expect(serving.failures).toEqual([]);
});
