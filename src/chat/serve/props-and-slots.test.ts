import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import * as v from "valibot";
import type { LanguageModel } from "../language-model.ts";
import { failure, loadStoriesModel, serveStories, type TestServer, until } from "./testing/server.ts";

setDefaultTimeout(60_000);

let model: LanguageModel;
beforeAll(async () => {
  model = await loadStoriesModel();
});
afterAll(async () => await model[Symbol.asyncDispose]());

const Slots = v.array(v.looseObject({ id: v.number(), is_processing: v.boolean() }));
const look = async ({ address }: TestServer, query = "") => {
  const answer = await fetch(`${address}/slots${query}`);
  return { status: answer.status, slots: v.parse(Slots, await answer.json()) };
};

test("slots say how far texts are, and none of their words", async () => {
  await using serving = serveStories(model, { slots: true, parallel: 2 });
  const context = model.decoder.config.contextLength;
  const free = (id: number) => ({ id, n_ctx: context, speculative: false, is_processing: false });
  expect(await look(serving, "?fail_on_no_slot=1")).toEqual({ status: 200, slots: [free(0), free(1)] });
  const left = new AbortController();
  const prompt = model.tokenizer.encode("Once upon a time");
  const body = { model: "storyteller", prompt, max_tokens: 400, n: 2 };
  const gone = failure(serving.client.completions.create(body, { signal: left.signal }));
  await until(async () => (await look(serving, "?fail_on_no_slot=1")).status === 503);
  const { slots } = await look(serving);
  for (const [id, slot] of slots.entries()) {
    expect(slot).toEqual({
      ...free(id),
      is_processing: true,
      id_task: expect.any(Number),
      n_prompt_tokens: prompt.length,
      n_prompt_tokens_processed: expect.any(Number),
      next_token: [{ has_next_token: true, n_remain: expect.any(Number), n_decoded: expect.any(Number) }],
    });
  }
  left.abort();
  await gone;
  await until(async () => (await look(serving)).slots.every(({ is_processing: isBusy }) => !isBusy));
});

test("without --slots there are none, as llama.cpp says it", async () => {
  await using serving = serveStories(model);
  const answer = await fetch(`${serving.address}/slots`);
  expect(answer.status).toBe(501);
  expect(await answer.json()).toMatchObject({ error: { message: expect.stringContaining("--slots") } });
});
