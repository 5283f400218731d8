import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora as run, spawned } from "./testing/program.ts";

const ROOT = join(import.meta.dir, "..");

const TINY = join(ROOT, "fixtures/tiny");

const folder = await TemporaryFolder.forTests();
beforeAll(async () => {
  const line = JSON.stringify({ text: "Once upon a time there was a little cat." });
  await Bun.write(folder.at("text.txt"), "Once upon a time there was a little cat.");
  await Bun.write(folder.at("data.jsonl"), `${Array(8).fill(line).join("\n")}\n`);
});

/** Where no Vulkan driver can be found. */
const env = { VK_DRIVER_FILES: "/nonexistent", RANDLORA_CACHE: folder.at("cache") };
const randlora = (args: readonly string[]) => run(args, { cwd: folder.path, env });

/** `RANDLORA_GPU` is the older name, and gives way. */
const VARIABLES = { RANDLORA_DEVICE: "cpu", RANDLORA_GPU: "no such card", RANDLORA_THREADS: "2" };

const train = ["finetune", STORIES, "--data", "data.jsonl", "--rank", "8", "--steps", "2", "--seed", "1"];
const commands: readonly (readonly string[])[] = [
  ["merge", join(TINY, "base"), join(TINY, "adapter"), "--out", "merged", "--verify"],
  [...train, "--out", "run"],
  ["chat", STORIES, "--adapter", "run", "--raw", "-p", "Once", "--max-tokens", "4", "--temperature", "0"],
  ["eval", "perplexity", STORIES, "--adapter", "run", "--merged", "--file", "text.txt"],
  ["inspect", "run", "--spectrum"],
];

test("--device cpu does every command's work, without a driver and without a word of one", async () => {
  for (const command of commands) {
    const { status, stdout, stderr } = await randlora([
      ...command,
      "--device",
      "cpu",
      "--threads",
      "2",
      "--json",
      "-q",
    ]);
    expect([command[0], status, stderr]).toEqual([command[0], 0, ""]);
    expect(JSON.parse(stdout)).toBeObject();
  }
});

test("-v tells which device was opened, on stderr", async () => {
  const args = ["eval", "perplexity", STORIES, "--file", "text.txt", "--device", "cpu", "--json", "-q"];
  const [terse, verbose] = [await randlora(args), await randlora([...args, "-v"])];
  expect([terse.stderr, verbose.stderr]).toEqual(["", expect.stringMatching(/^device: CPU \(.*, randlora's own, /m)]);
  expect(JSON.parse(verbose.stdout)).toMatchObject({ tokens: JSON.parse(terse.stdout).tokens });
});

test("where there is no GPU it is what nobody chooses; threads change no byte, as --gpu and variables say the same", async () => {
  const options = { cwd: folder.path, env };
  const outcomes = [];
  for (const [out, work] of [
    ["alone", (args: readonly string[]) => spawned(args, options)],
    ["flags", (args: readonly string[]) => randlora([...args, "--gpu", "cpu", "--threads", "3"])],
    ["variables", (args: readonly string[]) => run(args, { ...options, env: { ...env, ...VARIABLES } })],
  ] as const) {
    const { status, stderr } = await work([...train, "--out", out, "-q"]);
    expect([out, status, stderr]).toEqual([out, 0, ""]);
    outcomes.push(await Bun.file(folder.at(out, "adapter/adapter_model.safetensors")).bytes());
  }
  for (const other of outcomes.slice(1)) expect(other).toEqual(outcomes[0] ?? new Uint8Array());
});

test.each([
  [["--device", "software"], {}, 1, "error: --device software: no such GPU\nhint: take the program's own CPU device"],
  [[], { RANDLORA_GPU: "no such card" }, 1, "no such card: no such GPU\nhint: take the program's own CPU device"],
  [["--threads", "0"], {}, 2, 'error: --threads: "0" must be at least 1'],
])("%p %p is refused with the way out", async (args, variables, wanted, words) => {
  const merge = ["merge", join(TINY, "base"), join(TINY, "adapter"), "--out", "x", ...args];
  const { status, stderr } = await spawned(merge, { cwd: folder.path, env: { ...env, ...variables } });
  expect([status, stderr]).toEqual([wanted, expect.stringContaining(words)]);
});

test("--profile times the kernels of the CPU device", async () => {
  const args = ["merge", join(TINY, "base"), join(TINY, "adapter"), "--out", "profiled", "--profile", "--json", "-q"];
  const { status, stdout } = await randlora([...args, "--device", "cpu"]);
  expect(status).toBe(0);
  const { profile } = JSON.parse(stdout);
  expect(profile.length).toBeGreaterThan(1);
  expect(profile[0]).toEqual({ kernel: expect.any(String), calls: expect.any(Number), seconds: expect.any(Number) });
});

test("--memory bounds a chat's context, weights and a run's batch; --kv-type f32 doubles what a context takes", async () => {
  const chat = ["chat", STORIES, "--raw", "-p", "Once", "-n", "4", "--temperature", "0", "-v"];
  const [free, bounded, whole] = await Promise.all([
    randlora(chat),
    randlora([...chat, "--memory", "3.2MB"]),
    randlora([...chat, "--memory", "3.4MB", "--kv-type", "f32"]),
  ]);
  expect([bounded.stdout, whole.stdout]).toEqual([free.stdout, free.stdout]);
  for (const { stderr } of [bounded, whole]) expect(stderr).toContain("warning: the context ends at 256 tokens");
  expect(free.stderr).toContain("KV cache in f16, by tokens: 328 kB for 512");
  expect(whole.stderr).toContain("KV cache in f32, by tokens: 655 kB for 512");
  const [weights, run] = await Promise.all([
    randlora([...chat, "--memory", "500KB"]),
    randlora([...train, "--batch-size", "8", "--memory", "2MB", "--out", "bounded"]),
  ]);
  expect([weights.status, weights.stderr]).toEqual([1, expect.stringContaining("error: the weights take")]);
  expect(weights.stderr).toContain("and --memory allows 0.5 MB");
  expect([run.status, run.stderr]).toEqual([1, expect.stringMatching(/memory are needed, and --memory allows 2 MB/)]);
});
