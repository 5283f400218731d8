import { expect, test } from "bun:test";
import { Fixture } from "../src/files/hub/testing/fixture.ts";
import { mkdir } from "node:fs/promises";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora } from "./testing/program.ts";

const CONFIG = {
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 172,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  vocab_size: 500,
};

/** The output matrix, and in each layer q, k, v, o and three of the MLP: the embedding is looked up. */
const MULTIPLIED = 500 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 172);

const folder = await TemporaryFolder.forTests();

async function budget(args: readonly string[], env: Record<string, string> = {}) {
  return await randlora(["budget", ...args], { cwd: folder.path, env });
}

async function written(name: string, config: unknown): Promise<string> {
  await mkdir(folder.at(name), { recursive: true });
  await Bun.write(folder.at(name, "config.json"), typeof config === "string" ? config : JSON.stringify(config));
  return name;
}

test("a folder with config.json alone: the table, and the same as JSON", async () => {
  const model = await written("model", CONFIG);
  const shown = await budget([model, "--like", "lora:8"]);
  expect([shown.status, shown.stderr]).toEqual([0, ""]);
  // q and v of two layers, 64 × 64: 8 · 128 · 4.
  expect(shown.stdout).toContain("4,096 trainable parameters in 4 modules (model: ");
  expect(shown.stdout).toMatch(/\nlora +rank 8 +4,096 .* 0 %/);
  expect(shown.stdout).not.toContain("\u001b");
  const beyond = await budget([model, "--params", "100K"]);
  expect(beyond.stdout).toMatch(/\nvera .* no rank comes nearer\n/);
  expect(beyond.stdout).toMatch(/\nnola .* no number of bases comes nearer\n/);
  const { status, stdout } = await budget([model, "--params", "10K", "--targets", "all-linear", "--json"]);
  expect(status).toBe(0);
  const json = JSON.parse(stdout);
  expect(json).toMatchObject({ budget: 10_000, targets: "all-linear", modules: 14 });
  expect(json.methods.lora).toEqual({
    rank: expect.any(Number),
    parameters: expect.any(Number),
    distance: (json.methods.lora.parameters - 10_000) / 10_000,
    memory_bytes: json.model_bytes + 16 * json.methods.lora.parameters,
    // y and ∂loss/∂x of the frozen matrices, and three products with each factor.
    step_flops: 1024 * (4 * MULTIPLIED + 6 * json.methods.lora.parameters),
  });
  expect(json.methods.full).toMatchObject({ parameters: json.model_parameters });
});

test("of a model on the Hub config.json is fetched, and no weights", async () => {
  await using fixture = await Fixture.start();
  fixture.hub.repositories.set("org/small", {
    revisions: {
      main: { "config.json": JSON.stringify(CONFIG), "model.safetensors": "weights", "tokenizer.json": "" },
    },
  });
  const env = { HF_ENDPOINT: fixture.hub.url, HF_HUB_CACHE: fixture.cacheDir };
  const { status, stdout } = await budget(["org/small", "--params", "1K", "--json"], env);
  expect([status, JSON.parse(stdout).budget]).toEqual([0, 1000]);
  const fetched = fixture.hub.take().filter(({ what }) => what.includes("resolve"));
  expect(fetched.map(({ what }) => what.replace(/^.*\//, ""))).toEqual(["config.json"]);
});

test.each<[string, readonly string[], number, string]>([
  ["no budget", ["--json"], 2, "--params or --like is missing"],
  ["two", ["--params", "1K", "--like", "lora:8"], 2, "both are a budget"],
  ["no count", ["--params", "many"], 2, "is not a count such as 500K or 10M"],
  ["a method that does not exist", ["--like", "lorra:8"], 2, "no such method"],
  ["a size that is none", ["--like", "lora:x"], 2, "not a method with its rank"],
  ["targets that match nothing", ["--params", "1K", "--targets", "q_prj"], 2, "no linear layer of model matches"],
  ["a setting of images", ["--params", "1K", "--head", "cls"], 2, "--head has no meaning with a language model"],
  ["a layer that is not there", ["--params", "1K", "--layers", "7"], 2, "in layers 7 matches"],
])("%s is refused", async (_, args, status, message) => {
  const model = await written("model", CONFIG);
  const found = await budget([model, ...args]);
  expect([found.status, found.stdout]).toEqual([status, ""]);
  expect(found.stderr).toStartWith("error: ");
  expect(found.stderr).toContain(message);
});

test.each<[string, unknown, string]>([
  ["no JSON", "{", "config.json"],
  ["an architecture of which nothing is known", { model_type: "rnn" }, 'models of type "rnn" cannot be run'],
  ["a size that is missing", { ...CONFIG, hidden_size: undefined }, "hidden_size"],
  ["too many layers", { ...CONFIG, num_hidden_layers: 1e9 }, "num_hidden_layers"],
])("a config.json with %s is refused in one line", async (_, config, message) => {
  const { status, stdout, stderr } = await budget([await written("broken", config), "--params", "1K"]);
  expect([status, stdout]).toEqual([3, ""]);
  expect(stderr.split("\n")[0]).toContain(message);
});

test("a config.json with the largest sizes is answered, in bounded time", async () => {
  const huge = {
    ...CONFIG,
    hidden_size: 2 ** 24,
    num_attention_heads: 2 ** 17,
    intermediate_size: 2 ** 24,
    num_hidden_layers: 2000,
  };
  const { status, stdout } = await budget([await written("huge", huge), "--params", "10M", "--json"]);
  expect(status).toBe(0);
  expect(JSON.parse(stdout).methods.lora.rank).toBe(1);
});
