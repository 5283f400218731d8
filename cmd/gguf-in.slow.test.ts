import { beforeAll, expect, test } from "bun:test";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { writeLora } from "../src/adapters/testing/lora.ts";
import { contents } from "./testing/merge.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora, startProgram } from "./testing/program.ts";

// A GGUF file in the place of MODEL: the one inside the program, a small Llama with tied embeddings, in bf16.

const MODEL = join(import.meta.dir, "../fixtures/embedded/model");
const Q = "model.layers.1.self_attn.q_proj";
const LORA = { r: 4, alpha: 64, seed: 3, modules: { [Q]: [128, 128] } } as const;

const folder = await TemporaryFolder.forTests();
beforeAll(async () => {
  await cp(MODEL, folder.at("model"), { recursive: true });
  await writeLora(folder.at("lora"), LORA);
  await Bun.write(
    folder.at("chats.jsonl"),
    '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy matey!"}]}\n'.repeat(4),
  );
  await succeed("convert", "model", "--to", "gguf", "--out", "keep.gguf");
  await succeed("convert", "model", "--to", "gguf", "--out", "q8.gguf", "--outtype", "q8_0");
  await succeed("convert", "lora", "--to", "json", "--out", "lora.json");
});

/** What a command prints that does what it should. */
async function succeed(...args: readonly string[]): Promise<string> {
  const { stdout, stderr, status } = await randlora(args, { cwd: folder.path });
  expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
}

const chat = (model: string, ...more: readonly string[]) =>
  succeed("chat", model, "-p", "Who lives on the island?", "--temperature", "0", ...more);

test("a run beside it goes on after kill -9 to the same bytes, and merges into the file and into a folder", async () => {
  const train = ["finetune", "q8.gguf", "--data", "chats.jsonl", "--steps", "12", "--save-every", "2"];
  const more = ["--learning-rate", "0.01", "--batch-size", "2"];
  await succeed(...train, ...more, "--out", "whole");
  const child = startProgram([...train, ...more, "--out", "killed"], { cwd: folder.path });
  const metrics = Bun.file(folder.at("killed", "metrics.jsonl"));
  const lines = async () => (await metrics.text().catch(() => "")).split("\n").length;
  while (child.exitCode === null && (await lines()) < 4) await Bun.sleep(5);
  child.kill("SIGKILL");
  await child.exited;
  await succeed("finetune", "--resume", "killed");
  const weights = async (run: string) => (await contents(folder.at(run, "adapter")))["adapter_model.safetensors"];
  expect(await weights("killed")).toEqual(await weights("whole"));
  const beside = await chat("whole", "--max-tokens", "6");
  await succeed("merge", "whole", "--out", "run.gguf");
  await succeed("merge", "whole", "--out", "run");
  expect(beside).not.toBe(await chat("q8.gguf", "--max-tokens", "6"));
  for (const model of ["run.gguf", "run"]) expect(await chat(model, "--max-tokens", "6")).toBe(beside);
});
