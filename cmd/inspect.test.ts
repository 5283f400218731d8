import { beforeAll, describe, expect, test } from "bun:test";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { loraDelta, type TestLora, writeLora } from "../src/adapters/testing/lora.ts";
import { Fixture } from "../src/files/hub/testing/fixture.ts";
import { Typist } from "../src/terminal/testing/typist.ts";
import { cleanEnvironment } from "../src/files/testing/process.ts";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { commandLine, randlora } from "./testing/program.ts";

const LORA: TestLora = {
  r: 4,
  alpha: 8,
  seed: 3,
  modules: { "model.layers.0.self_attn.q_proj": [64, 64], "model.layers.4.mlp.down_proj": [64, 172] },
};

const folder = await TemporaryFolder.forTests();
beforeAll(async () => {
  await writeLora(folder.at("adapter"), LORA);
  await mkdir(folder.at("empty"));
});

/** Without progress: on a busy machine it shows up where a quick command has none. */
async function inspect(args: readonly string[], env: Record<string, string> = {}) {
  return await randlora(["inspect", "--quiet", ...args], { cwd: folder.path, env });
}

describe("an adapter", () => {
  test("as a table, and as JSON", async () => {
    const shown = await inspect(["adapter", "--base", STORIES]);
    expect([shown.status, shown.stderr]).toEqual([0, ""]);
    expect(shown.stdout).toMatch(/^adapter +LoRA\nsize +rank 4, α 8\n/);
    expect(shown.stdout).toContain(": adapts 2 modules");
    expect(shown.stdout).toMatch(/\nmodel\.layers\.\*\.mlp\.down_proj\.lora_A\.weight +1 +4 × 172 +F32 +688\n/);
    const { status, stdout } = await inspect(["adapter", "--json"]);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      kind: "adapter",
      method: "lora",
      rank: 4,
      targets: Object.keys(LORA.modules),
      generator: null,
      parameters: 4 * (64 + 64 + 64 + 172),
      bytes: 16 * (64 + 64 + 64 + 172),
      applicable: true,
      problems: [],
    });
  });

  test("that cannot be applied is shown, with the reason, in one warning; nothing in it steers the terminal", async () => {
    const target_modules = ["q\u001b[31m"];
    await writeLora(folder.at("odd"), LORA, { config: { use_qalora: true, target_modules } });
    const { status, stdout, stderr } = await inspect(["odd"]);
    expect(status).toBe(0);
    expect(stdout).toContain("rank 4");
    expect(stdout).not.toContain("\u001b");
    expect(stderr).toMatch(/^warning: .*use_qalora.*\n$/);
    const json = JSON.parse((await inspect(["odd", "--json", "-q"])).stdout);
    expect(json).toMatchObject({ applicable: false, problems: [expect.stringContaining("use_qalora")], rank: 4 });
  });
});

test("one layer, one head, one module", async () => {
  const config = await Bun.file(join(STORIES, "config.json")).json();
  const single = { num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1, head_dim: 64 };
  await Bun.write(folder.at("single", "config.json"), JSON.stringify({ ...config, ...single }));
  const shown = await inspect(["single"]);
  expect(shown.stdout).toMatch(/^sizes +1 layer of 64, 1 head, 512 tokens, context 512$/m);
  await writeLora(folder.at("narrow"), { ...LORA, modules: { "model.layers.0.self_attn.q_proj": [64, 64] } });
  expect((await inspect(["narrow", "--base", STORIES])).stdout).toMatch(/: adapts 1 module$/m);
});

describe("its ΔW", () => {
  test("singular values as a table, a plot, a figure and JSON", async () => {
    const shown = await inspect(["adapter", "--spectrum", "--svg", "plot.svg"]);
    expect([shown.status, shown.stderr]).toEqual([0, ""]);
    expect(shown.stdout).toMatch(/\nmodel\.layers\.0\.self_attn\.q_proj +64 × 64 .* 4 of 64\n/);
    expect(shown.stdout).toContain("singular values of ΔW by their place: q_proj, down_proj\n");
    expect(shown.stdout).toMatch(/[⠁-⣿]/);
    expect(shown.stdout).not.toContain("\u001b");
    expect(await Bun.file(folder.at("plot.svg")).text()).toStartWith("<svg ");
    const again = await inspect(["adapter", "--spectrum", "--svg", "plot.svg"]);
    expect([again.status, again.stdout]).toEqual([1, ""]);
    expect(again.stderr).toContain("plot.svg");
    expect((await inspect(["adapter", "--spectrum", "--svg", "plot.svg", "--force", "-q"])).status).toBe(0);
    const config = await Bun.file(folder.at("adapter", "adapter_config.json")).text();
    const over = await inspect(["adapter", "--spectrum", "--svg", "adapter/adapter_config.json", "--force"]);
    expect([over.status, over.stderr]).toEqual([1, expect.stringContaining("it is a file of the input adapter")]);
    expect(await Bun.file(folder.at("adapter", "adapter_config.json")).text()).toBe(config);
    const { spectrum } = JSON.parse((await inspect(["adapter", "--spectrum", "--json", "--layers", "4"])).stdout);
    const wanted = loraDelta(LORA, "model.layers.4.mlp.down_proj");
    const squares = wanted.reduce((sum, value) => sum + value * value, 0);
    expect(spectrum).toEqual([
      {
        module: "model.layers.4.mlp.down_proj",
        shape: [64, 172],
        frobenius_norm: expect.closeTo(Math.sqrt(squares), 4),
        effective_rank: expect.any(Number),
        numerical_rank: 4,
        singular_values: [expect.any(Number), expect.any(Number), expect.any(Number), expect.any(Number)],
      },
    ]);
  });

  test("the distance from another adapter", async () => {
    await writeLora(folder.at("half"), { ...LORA, alpha: 4 });
    const shown = await inspect(["adapter", "--against", "half"]);
    expect(shown.stdout).toContain("\nagainst half\n");
    expect(shown.stdout).toMatch(/\nall +\S+ +\S+ +0\.5 +1\.0000\n$/);
    const { against } = JSON.parse((await inspect(["adapter", "--against", "half", "--json"])).stdout);
    expect(against).toMatchObject({ path: "half", relative: expect.closeTo(0.5, 6), cosine: expect.closeTo(1, 6) });
    expect(against.modules).toHaveLength(2);
  });

  test.each([
    [60, {}],
    [20, { NO_COLOR: "1" }],
  ])("on a terminal of %d columns the plot fits, in color unless %j", async (columns, env: Record<string, string>) => {
    const command = commandLine("inspect", "adapter", "--spectrum");
    const typist = new Typist(command, { columns, rows: 60, cwd: folder.path, env: cleanEnvironment(env) });
    try {
      expect(await typist.exited).toBe(0);
      const { transcript } = typist;
      expect(transcript).toMatch(/[⠁-⣿]/);
      // oxlint-disable-next-line no-control-regex -- of colors
      const hasColor = /\u001b\[3[0-9]m/.test(transcript);
      expect(hasColor).toBe(!("NO_COLOR" in env));
      const plot = Bun.stripANSI(transcript)
        .split(/[\r\n]+/)
        .filter((line) => /[│┤└]/.test(line) && !line.includes("▕"));
      expect(plot.length).toBeGreaterThanOrEqual(13);
      expect(Math.max(...plot.map((line) => Bun.stringWidth(line)))).toBeLessThan(columns);
    } finally {
      await typist.end();
    }
  });
});

describe("a checkpoint", () => {
  test("a folder, and the one in the program", async () => {
    const { status, stdout } = await inspect([STORIES]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^model +LlamaForCausalLM\n/);
    expect(stdout).toContain("tied to the embedding");
    expect(stdout).toMatch(/\nlayers 0 to 4: [\d,]+ each\n$/);
    const json = JSON.parse((await inspect(["embedded", "--json"])).stdout);
    expect(json).toMatchObject({ kind: "checkpoint", method: null, parameters: 854_400, tied: true, runnable: true });
  });

  test("on the Hub config.json suffices; an adapter there is fetched", async () => {
    await using fixture = await Fixture.start();
    const config = await Bun.file(join(STORIES, "config.json")).text();
    const index = { metadata: { total_size: 7 }, weight_map: { "model.norm.weight": "a.safetensors" } };
    const adapter = ["adapter_config.json", "adapter_model.safetensors"].map(async (name) => [
      name,
      await Bun.file(folder.at("adapter", name)).bytes(),
    ]);
    fixture.hub.repositories.set("org/small", {
      revisions: {
        main: { "config.json": config, "model.safetensors.index.json": JSON.stringify(index), "a.safetensors": "w" },
      },
    });
    fixture.hub.repositories.set("org/lora", { revisions: { main: Object.fromEntries(await Promise.all(adapter)) } });
    const env = { HF_ENDPOINT: fixture.hub.url, HF_HUB_CACHE: fixture.cacheDir };
    const json = JSON.parse((await inspect(["org/small", "--json", "-q"], env)).stdout);
    expect(json).toMatchObject({ weights: false, parameters: 260_032, shards: [{ file: "a.safetensors" }] });
    const fetched = fixture.hub.take().filter(({ what }) => what.includes("resolve"));
    expect(fetched.map(({ what }) => what.replace(/^.*\//, "")).toSorted()).toEqual([
      "config.json",
      "model.safetensors.index.json",
    ]);
    expect(JSON.parse((await inspect(["org/lora", "--json", "-q"], env)).stdout)).toMatchObject({ method: "lora" });
  });
});

test.each<[string, readonly string[], number, string]>([
  ["nothing of that name", ["nowhere"], 1, "no such file or folder"],
  ["a folder with neither", ["empty"], 3, "neither an adapter"],
  ["a base for a checkpoint", [STORIES, "--base", STORIES], 2, "is a checkpoint, no adapter"],
  ["a base that is not there", ["adapter", "--base", "nowhere"], 1, "nowhere"],
  ["a file of samples", ["x.jsonl"], 3, "x.jsonl: data, neither an adapter nor a checkpoint\nhint: randlora finetune"],
  ["a GGUF file without its end", ["x.gguf"], 3, "x.gguf: the file is incomplete"],
  ["intruders without a spectrum", ["adapter", "--intruders"], 2, "--intruders: of what?"],
  ["intruders without a base", ["adapter", "--spectrum", "--intruders"], 2, "--intruders: the base is not at hand"],
  ["a spectrum of a checkpoint", [STORIES, "--spectrum"], 2, "--spectrum: "],
  ["a figure of nothing", ["adapter", "--svg", "x.svg"], 2, "--svg: of what?"],
  ["layers of nothing", ["adapter", "--layers", "0"], 2, "--layers: of what?"],
  ["layers that are not adapted", ["adapter", "--spectrum", "--layers", "3"], 2, "no module there"],
  ["another adapter that is not there", ["adapter", "--against", "nowhere"], 1, "nowhere"],
])("%s is refused", async (_, args, status, message) => {
  await writeFile(folder.at("x.gguf"), "GGUF");
  await writeFile(folder.at("x.jsonl"), '{"text": "Once upon a time"}\n');
  const found = await inspect(args);
  expect([found.status, found.stdout]).toEqual([status, ""]);
  expect(found.stderr).toStartWith("error: ");
  expect(found.stderr).toContain(message);
});
