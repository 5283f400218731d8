import { expect, test } from "bun:test";
import { FIRST_GPU } from "../../compute/device/testing/open.ts";
import { Gpu } from "../../compute/gpu/gpu.ts";
import type { LanguageModel } from "../language-model.ts";
import { failure, loadStoriesModel, serveStories, until } from "./testing/server.ts";

/** A model on a GPU whose loss the caller announces: a software GPU is never lost by itself. */
async function loadFragile(): Promise<{ model: LanguageModel; lose: () => void }> {
  (await Gpu.open()).close(); // Dawn's classes are globals only once its library is loaded
  const { requestDevice } = GPUAdapter.prototype;
  const { promise, resolve } = Promise.withResolvers<{ reason: string; message: string }>();
  GPUAdapter.prototype.requestDevice = async function (this: GPUAdapter, descriptor) {
    const device = await requestDevice.call(this, descriptor);
    return Object.defineProperty(device, "lost", { value: promise });
  };
  try {
    const model = await loadStoriesModel(FIRST_GPU);
    return { model, lose: () => resolve({ reason: "unknown", message: "VK_ERROR_DEVICE_LOST" }) };
  } finally {
    GPUAdapter.prototype.requestDevice = requestDevice;
  }
}

test("a GPU that is lost fails every request, and the server knows that it is over", async () => {
  const { model, lose } = await loadFragile();
  await using _ = model;
  await using serving = serveStories(model, { parallel: 1 });
  const ask = () => failure(serving.client.completions.create({ model: "storyteller", prompt: "Once" }));
  const running = ask();
  await until(() => serving.engine.load === 1);
  const waiting = ask();
  await until(() => serving.engine.load === 2);
  lose();
  expect(await running).toMatchObject({ status: 500, type: "server_error" });
  expect(await waiting).toMatchObject({ status: 503 });
  expect(await failure(serving.engine.failure)).toMatchObject({ code: "gpu" });
  expect(await ask()).toMatchObject({ status: 503 });
  expect(serving.failures).toEqual([expect.objectContaining({ code: "gpu" })]);
  const health = await fetch(`${serving.address}/health`);
  expect(health.status).toBe(503);
});
