import { expect, test } from "bun:test";
import { SUPPORTED_TYPES } from "../src/models/decoder/architectures/index.ts";
import { CHECKS, type ModelKind, type Verified } from "../src/measure/inspect/models.ts";
import record from "../src/measure/inspect/verified.json";
import { IMAGE_TYPES } from "../src/models/vision/index.ts";
import { randlora } from "./testing/program.ts";

const verified = record as Verified;

test("models lists every model_type that can be run, what GGUF calls it, and what the record says was verified", async () => {
  const run = async (...args: readonly string[]) => (await randlora(["models", ...args])).stdout;
  const { models } = JSON.parse(await run("--json")) as { models: ModelKind[] };
  expect(models.map(({ type }) => type)).toEqual([...SUPPORTED_TYPES, ...IMAGE_TYPES]);
  const mistral = models.find(({ type }) => type === "mistral");
  expect([mistral?.title.startsWith("Mistral"), mistral?.gguf]).toEqual([true, "llama"]);
  const shown = models.flatMap((model) => {
    const checks = model.verified.map((one) => [one.weights, one.checks] as const);
    return checks.length === 0 ? [] : [[model.type, Object.fromEntries(checks)] as const];
  });
  expect(Object.fromEntries(shown)).toEqual(verified);
  const lines = (await run()).split("\n");
  for (const { type, title, verified } of models) {
    const line = lines.find((one) => one.startsWith(`${type} `) && one.includes(title));
    expect(line).toMatch(verified.length === 0 ? /(?:– +){8}never run$/ : / [Pr] .*\d{4}-\d\d-\d\d$/);
  }
});

test("the record names types, checks and days that there are", () => {
  for (const [type, byWeights] of Object.entries(verified)) {
    expect([...SUPPORTED_TYPES, ...IMAGE_TYPES]).toContain(type);
    for (const checks of Object.values(byWeights)) {
      expect(Object.keys(checks).length).toBeGreaterThan(0);
      for (const [check, day] of Object.entries(checks)) {
        expect(Object.keys(CHECKS)).toContain(check);
        expect(new Date(day).toISOString().slice(0, 10)).toBe(day);
      }
    }
  }
});
