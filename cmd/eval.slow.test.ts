import { expect, test } from "bun:test";
import { join } from "node:path";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora } from "./testing/program.ts";

const folder = await TemporaryFolder.forTests();

const EMBEDDED_DATA = join(import.meta.dir, "../fixtures/embedded/data");

test("the loss is training's valid_loss; tasks of a job array find what one process finds", async () => {
  const held = folder.at("held.jsonl");
  const lines = (await Bun.file(join(EMBEDDED_DATA, "valid.jsonl")).text()).split("\n").slice(0, 6);
  await Bun.write(held, [...lines, JSON.stringify({ text: "Tarn is an island." })].join("\n"));
  const run = folder.at("run");
  const data = ["--data", join(EMBEDDED_DATA, "train.jsonl"), "--valid", held];
  expect((await randlora(["finetune", "embedded", ...data, "--steps", "1", "--out", run])).status).toBe(0);
  const [first = ""] = (await Bun.file(folder.at("run", "metrics.jsonl")).text()).split("\n");
  const measure = async (...args: readonly string[]) => {
    const asked = ["eval", "chats", "embedded", "--data", held, "--max-tokens", "24", "--json", "--quiet"];
    const { seconds: _, ...report } = JSON.parse((await randlora([...asked, ...args])).stdout);
    return report;
  };
  const alone = await measure();
  expect(alone).toMatchObject({ samples: 7, total: 6 });
  expect(alone.loss).toBeCloseTo(JSON.parse(first).valid_loss, 4);
  const parts = ["--parts", folder.at("parts"), "--job"];
  expect(await measure(...parts, "2/2")).toMatchObject({ jobs_left: 1 });
  expect(await measure(...parts, "1/2")).toEqual(alone);
}, 120_000);
