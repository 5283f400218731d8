// `--quantize` of every command that has it: what is shown, and what is refused.
import { cp } from "node:fs/promises";
import { beforeAll, expect, test } from "bun:test";
import { expectedStories, STORIES } from "../fixtures/stories/storyteller.ts";
import { writePranc } from "../src/adapters/testing/pranc.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { writeModel } from "../src/models/testing/models.ts";
import { randlora as run, startProgram } from "./testing/program.ts";

const MODULES = { "model.layers.0.self_attn.q_proj": [64, 64], "model.layers.4.mlp.down_proj": [64, 172] } as const;
// Rows of down_proj are 172 numbers: no whole blocks.
const ROWS = 5 * (128 + 64 + 344) + 512;
const BLOCKS = { format: "Q8_0", bytes: 17 * 4 * ROWS, stored_bytes: 4 * 64 * ROWS };

const folder = await TemporaryFolder.forTests();
let adapter: string;
beforeAll(async () => {
  adapter = await writeAdapter(folder.at("adapter"), { r: 4, alpha: 80, seed: 3, size: 0.05, modules: MODULES });
  await Bun.write(folder.at("text"), (await expectedStories())[0].text);
});

const randlora = (...args: readonly string[]) => run(args, { cwd: folder.path });

test("chat and eval tell the bytes of quantized weights beside what they compute with them", async () => {
  const chat = ["chat", STORIES, "-p", "Once", "--raw", "--max-tokens", "4", "--temperature", "0", "--quantize", "q8"];
  const answer = await randlora(...chat, "--adapter", adapter, "--json");
  expect([answer.status, answer.stderr]).toEqual([
    0,
    expect.stringMatching(/weights: 217 kB in Q8_0 \(817 kB as stored\)/),
  ]);
  expect(JSON.parse(answer.stdout)).toMatchObject({ completion_tokens: 4, quantized: BLOCKS });
  const measured = await randlora(
    "eval",
    "perplexity",
    STORIES,
    "--file",
    "text",
    "--adapter",
    adapter,
    "--json",
    "--quantize",
    "q8",
  );
  const { base, adapted, quantized, tokens_per_s: speed } = JSON.parse(measured.stdout);
  expect(quantized).toEqual(BLOCKS);
  expect(speed).toBeGreaterThan(0);
  expect(Math.abs(adapted.nll - base.nll)).toBeGreaterThan(1e-3);
  const whole = await randlora("eval", "perplexity", STORIES, "--file", "text", "--json", "--quiet");
  expect(JSON.parse(whole.stdout).quantized).toBeUndefined();
  expect(Math.abs(JSON.parse(whole.stdout).base.nll / base.nll - 1)).toBeLessThan(5e-3);
});

test("a model whose rows are no whole blocks stays as it is, and that is said", async () => {
  const json = await Bun.file(`${STORIES}/config.json`).json();
  const sizes = { hidden_size: 24, intermediate_size: 20, num_attention_heads: 3, num_key_value_heads: 3 };
  const model = folder.at("narrow");
  await cp(STORIES, model, { recursive: true });
  const projections = (["q_proj", "k_proj", "v_proj", "o_proj"] as const).map((name) => [
    `self_attn.${name}`,
    [24, 24],
  ]);
  const mlp = { "mlp.gate_proj": [20, 24], "mlp.up_proj": [20, 24], "mlp.down_proj": [24, 20] };
  const layer = { ...Object.fromEntries(projections), ...mlp, input_layernorm: [24], post_attention_layernorm: [24] };
  const named = Object.entries(layer).map(([name, shape]) => [`model.layers.0.${name}.weight`, shape] as const);
  const shapes = { "model.embed_tokens.weight": [512, 24], ...Object.fromEntries(named), "model.norm.weight": [24] };
  await writeModel(model, { ...json, ...sizes, num_hidden_layers: 1 }, shapes);
  const { status, stderr, stdout } = await randlora(
    "eval",
    "perplexity",
    model,
    "--file",
    "text",
    "--quantize",
    "q4",
    "--json",
  );
  expect([status, stderr]).toEqual([0, expect.stringContaining("no layer's rows are whole blocks of 32 numbers")]);
  expect(JSON.parse(stdout).quantized).toBeUndefined();
});

test("serve changes adapters beside quantized weights", async () => {
  await using server = startProgram(
    ["serve", STORIES, "--adapter", `mine=${adapter}`, "--quantize", "q4", "--port", "0", "--json"],
    {
      cwd: folder.path,
    },
  );
  const [line = ""] = (await firstChunk(server.stdout)).split("\n");
  const { address } = JSON.parse(line);
  const answers = new Map<string, string>();
  for (const model of ["storyteller", "mine", "storyteller"]) {
    const body = JSON.stringify({ model, prompt: "Once upon a time", max_tokens: 24, temperature: 0 });
    const response = await fetch(`${address}/v1/completions`, { method: "POST", body });
    const { text } = ((await response.json()) as { choices: [{ text: string }] }).choices[0];
    expect(answers.get(model) ?? text).toBe(text);
    answers.set(model, text);
  }
  expect(answers.get("mine")).not.toBe(answers.get("storyteller") ?? "");
  server.kill("SIGTERM");
  await server.exited;
});

/** What comes first. */
async function firstChunk(stream: ReadableStream<Uint8Array>): Promise<string> {
  for await (const chunk of stream) return new TextDecoder().decode(chunk);
  return "";
}

test("ΔW of a method without factors is held beside quantized weights, and its bytes are told", async () => {
  const q = { "model.layers.0.self_attn.q_proj": [64, 64] } as const;
  const pranc = await writePranc(folder.at("pranc"), { seed: 3n, alpha: 1, coefficients: [0.5, 0.25], modules: q });
  const chat = ["chat", STORIES, "-p", "Once", "--raw", "--max-tokens", "4", "--temperature", "0", "--quantize", "q8"];
  const { status, stderr } = await randlora(...chat, "--adapter", pranc);
  expect([status, stderr]).toEqual([
    0,
    expect.stringContaining("warning: PRANC's ΔW has no factors: it is held in f32 beside the weights, 16.4 kB"),
  ]);
});

test.each<[string[], number, string]>([
  [["chat", STORIES, "-p", "x", "--raw", "--quantize", "q5"], 2, '"q5" is not one of q8, q4'],
  [
    ["eval", "perplexity", STORIES, "--file", "text", "--adapter", "adapter", "--merged", "--quantize", "q8"],
    2,
    "--merged and --quantize q8",
  ],
  [
    ["finetune", STORIES, "--data", "text", "--method", "full", "--quantize", "q8"],
    2,
    "--quantize q8 has no meaning with --method full",
  ],
])("%p is refused with a hint", async (args, status, message) => {
  const { status: found, stderr, stdout } = await randlora(...args);
  expect([found, stdout]).toEqual([status, ""]);
  expect(stderr).toContain(message);
  expect(stderr).toContain("\nhint: ");
  expect(stderr).not.toContain("    at ");
});
