// A LoRA, and RandLoRA beside it while it is frozen, by the commands that a user types.
import { beforeAll, expect, test } from "bun:test";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { openAdapter } from "../src/adapters/formats/open.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora } from "./testing/program.ts";

const folder = await TemporaryFolder.forTests();
beforeAll(async () => {
  const lines = Array.from({ length: 8 }, (_, i) => `${JSON.stringify({ text: `The cat had ${i} red balls.` })}\n`);
  await Bun.write(folder.at("data.jsonl"), lines.join(""));
});

async function run(...args: readonly string[]) {
  const { status, stdout, stderr } = await randlora([...args, "--json", "--quiet"], { cwd: folder.path });
  return { status, stderr, json: stdout === "" ? undefined : JSON.parse(stdout) };
}

const TRAIN = ["finetune", STORIES, "--data", "data.jsonl", "--learning-rate", "2e-2"] as const;

async function factorsOf(path: string): Promise<string[]> {
  await using adapter = await openAdapter(folder.at(path));
  const found = [...adapter.tensors.values()].filter(({ name }) => name.includes(".lora_"));
  return await Promise.all(found.map(async ({ name, readAll }) => `${name} ${Bun.hash(await readAll())}`));
}

test("a LoRA is trained, RandLoRA beside it, and both are converted, merged and talked to", async () => {
  const lora = ["--method", "lora", "--rank", "4", "--targets", "q_proj,down_proj", "--steps", "2", "--out", "lora"];
  expect(await run(...TRAIN, ...lora)).toMatchObject({ status: 0, stderr: "" });
  const hybrid = ["--method", "hybrid", "--init-adapter", "lora", "--rank", "8", "--sparse", "--steps", "2"];
  const planned = await run(...TRAIN, ...hybrid, "--dry-run");
  // λ and γ of 8 bases, and A and B, of q (64, 64) and down (64, 172) in five layers.
  const [ours, theirs] = [5 * 2 * 8 * (8 + 64), 5 * 4 * (128 + 236)];
  expect(planned.json).toMatchObject({ trainable_parameters: ours + theirs });
  const frozen = await run(...TRAIN, ...hybrid, "--freeze-lora", "--weight-decay", "0.5", "--out", "both");
  expect(frozen).toMatchObject({ status: 0, stderr: "", json: { trainable_parameters: ours } });
  expect(await factorsOf("both")).toEqual(await factorsOf("lora"));
  expect(await Bun.file(folder.at("both", "run.json")).json()).toMatchObject({
    method: "hybrid",
    adapter: { rank: 8, alpha: 160, lora_rank: 4, freeze_lora: true, sparsity: "sparse", rslora: false },
  });
  const converted = await run("convert", "both", "--to", "json", "--out", "both.json");
  expect(converted).toMatchObject({ status: 0, json: { generator: "torch-mt19937-ternary", projections: false } });
  const merged = await run("merge", STORIES, "both.json", "--out", "merged", "--verify");
  expect(merged).toMatchObject({ status: 0, json: { merged: 10, generator: "torch-mt19937-ternary" } });
  const chat = ["-p", "The cat", "--raw", "--temperature", "0", "--max-tokens", "8"];
  const [apart, whole] = [
    await run("chat", STORIES, "--adapter", "both", ...chat),
    await run("chat", "merged", ...chat),
  ];
  expect(apart.json.tokens.length).toBeGreaterThan(0);
  expect(apart.json.tokens).toEqual(whole.json.tokens);

  const shown = await run("inspect", "both");
  expect(shown).toMatchObject({ status: 0, json: { method: "hybrid", rank: 8 } });
});

test("a LoRA that does not exist cannot stay as it is", async () => {
  const refused = await run(...TRAIN, "--method", "hybrid", "--freeze-lora");
  expect([refused.status, refused.stderr]).toEqual([
    2,
    expect.stringContaining("--freeze-lora: a new LoRA adds nothing"),
  ]);
});
