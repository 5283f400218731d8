// What only PRANC is asked for in runs; the rest is every method's walk (methods.test.ts).
import { expect, test } from "bun:test";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { refusalOf } from "../../files/testing/folder.ts";
import { resolveSettings } from "../settings/resolve-settings.ts";

test("settings: defaults, and what it has not", async () => {
  const facts = { modelType: "llama", contextLength: 64 };
  const asked = { model: STORIES, data: "data.jsonl", method: "pranc" };
  expect(resolveSettings(asked, facts)).toMatchObject({ adapter: { bases: 256, alpha: 1, basisSeed: "0" } });
  for (const [more, message, init] of [
    [{ rank: 8 }, "--rank 8 has no meaning"],
    [{ bases: 2 ** 21 }, "--bases 2097152: at most 1048576"],
    [{ generator: "philox-v1" }, "--generator has no meaning with --method pranc"],
    [{ bases: 23, initAdapter: "a" }, "--bases 23: the adapter of", { method: "pranc", bases: 24 }],
  ] as const) {
    const refusal = await refusalOf(() => resolveSettings({ ...asked, ...more }, { ...facts, ...(init && { init }) }));
    expect([refusal.code, refusal.message]).toEqual(["usage", expect.stringContaining(message)]);
  }
});
