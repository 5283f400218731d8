import { expect, test } from "bun:test";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { FIRST_GPU } from "../../compute/device/testing/open.ts";
import { Gpu } from "../../compute/gpu/gpu.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { LanguageModel } from "../language-model.ts";
import { failure, loadStoriesModel, serveStories, until, writeAdapters } from "./testing/server.ts";

test("a GPU that is lost is opened anew: requests in flight get 503, later ones are answered as before", async () => {
  await using folder = await TemporaryFolder.create();
  await using model = await loadStoriesModel(FIRST_GPU);
  await using serving = serveStories(model, { parallel: 1, adapters: await writeAdapters(folder.path) });
  const ask = (id: string, max_tokens = 8) =>
    serving.client.completions.create({ model: id, prompt: "Once", max_tokens });
  const textOf = async (id: string) => (await ask(id)).choices[0]?.text;
  const before = [await textOf("storyteller"), await textOf("pirate")];
  for (const isBusy of [true, false]) {
    const asked = isBusy ? [failure(ask("pirate", 200))] : [];
    await until(() => serving.engine.load === asked.length);
    if (isBusy) asked.push(failure(ask("storyteller")));
    await until(() => serving.engine.load === asked.length);
    if (!(model.gpu instanceof Gpu)) throw new Error("not a GPU");
    model.gpu.device.destroy();
    for (const one of await Promise.all(asked)) expect(one).toMatchObject({ status: 503, code: "device_lost" });
    await model.gpu.device.lost;
    if (!isBusy) expect(await failure(ask("storyteller"))).toMatchObject({ status: 503 });
    await until(async () => (await fetch(`${serving.address}/health`)).ok);
    expect([await textOf("storyteller"), await textOf("pirate")]).toEqual(before);
  }
  const lost = expect.objectContaining({
    code: "gpu",
    message: expect.stringContaining("the GPU was lost (destroyed)"),
  });
  expect(serving.failures).toEqual([lost, lost]);
});

test("where it cannot be opened anew, the server knows that it is over", async () => {
  await using folder = await TemporaryFolder.create();
  const place = folder.at("model");
  await cp(STORIES, place, { recursive: true });
  const location = { folder: place, weights: undefined };
  await using model = await LanguageModel.load({ location, device: FIRST_GPU });
  await using serving = serveStories(model);
  await rm(join(place, "model.safetensors"));
  if (!(model.gpu instanceof Gpu)) throw new Error("not a GPU");
  model.gpu.device.destroy();
  const ask = () => failure(serving.client.completions.create({ model: "storyteller", prompt: "Once" }));
  expect(await ask()).toMatchObject({ status: 503 });
  expect(await failure(serving.engine.device.failure)).toMatchObject({
    message: expect.stringContaining("no .safetensors weights"),
  });
  expect(await ask()).toMatchObject({ status: 503, message: expect.stringContaining("must be started again") });
  expect((await fetch(`${serving.address}/health`)).status).toBe(503);
});

test("a device that each request loses is not opened without end: the third loss without an answer between is the last", async () => {
  await using model = await loadStoriesModel(FIRST_GPU);
  await using serving = serveStories(model);
  const ask = () => serving.client.completions.create({ model: "storyteller", prompt: "Once", max_tokens: 4 });
  const lose = async () => {
    if (!(model.gpu instanceof Gpu)) throw new Error("not a GPU");
    model.gpu.device.destroy();
    expect(await failure(ask())).toMatchObject({ status: 503 });
  };
  const isUp = async () => (await fetch(`${serving.address}/health`)).ok;
  for (const isAnswered of [false, true, false, false]) {
    await lose();
    await until(isUp);
    if (isAnswered) await ask();
  }
  await lose();
  expect(await failure(serving.engine.device.failure)).toMatchObject({
    code: "gpu",
    message: expect.stringContaining("failed 3 times without an answered request between: the GPU was lost"),
  });
  expect(serving.failures).toHaveLength(4);
  expect(await failure(ask())).toMatchObject({ message: expect.stringContaining("must be started again") });
});
