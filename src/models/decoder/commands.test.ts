import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { BLOCKS_STAGING_NAMES, Stagings } from "../../compute/device/testing/stagings.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { Run } from "../../compute/tensor/run.ts";
import { loadConfig } from "./architectures/index.ts";
import { recordPass } from "./forward.ts";
import { KvCache } from "./cache/slot-pool.ts";
import { batchLinears, PLAIN_LINEARS } from "../blocks/linears.ts";
import { ARCHITECTURE_CASES, writeArchitecture } from "../testing/architectures.ts";
import { DecoderWeights } from "./weights.ts";

/** Commands of a layer of a token: what each of them costs beside its work is paid at every layer of every token. */
const MOST = 6;
/** The same where a GPU takes many keys in tiles, which are joined. */
const MOST_OF_TILES = 7;
/** The same in WebAssembly, where norms and gates are commands of their own. */
const MOST_PLAIN = 13;
/** Those of layers that do more in steps of their own: norms behind blocks, of all heads together, by mean and variance; multipliers; experts. */
const MORE: Readonly<Record<string, number>> = {
  olmo2: 8,
  olmo3: 8,
  exaone4: 8,
  granite: 4,
  starcoder2: 4,
  gemma4_text: 6,
  "gemma4_text-experts": 26,
  gemma4: 11,
  gpt2: 4,
  gpt_neox: 6,
  phi: 6,
  cohere: 4,
  cohere2: 4,
  glm4: 3,
  glm4_moe: 14,
  mixtral: 8,
  qwen2_moe: 19,
  qwen3_moe: 8,
  olmoe: 12,
  granitemoe: 12,
  gpt_oss: 12,
  lfm2: 1,
  lfm2_moe: 12,
  qwen3_5_text: 11,
  qwen3_5: 11,
  qwen3_5_moe_text: 19,
  qwen3_5_moe: 19,
  qwen3_vl_moe: 8,
  qwen3_next: 30,
};
const GEMMA4 = { layer_types: ["full_attention", "sliding_attention", "full_attention", "full_attention"] };
/** Settings without which layers are all of one kind. */
const SETTINGS: Readonly<Record<string, object>> = {
  gemma4_text: GEMMA4,
  "gemma4_text-experts": GEMMA4,
  gemma4: GEMMA4,
  lfm2: { full_attn_idxs: [0, 2] },
  lfm2_moe: { full_attn_idxs: [0, 2], num_dense_layers: 0 },
};
/** Layers of two models: what else a pass consists of is the same in both. */
const [FEW, MANY] = [2, 4];

const stagings = new Stagings();
let folder: TemporaryFolder;
beforeAll(async () => {
  await stagings.open();
  folder = await TemporaryFolder.create();
  for (const type of ARCHITECTURE_CASES) {
    for (const layers of [FEW, MANY])
      await writeArchitecture(folder.at(`${type}-${layers}`), type, layers, SETTINGS[type]);
  }
});
afterAll(async () => {
  stagings.close();
  await folder[Symbol.asyncDispose]();
});

interface Sequences {
  /** Tokens of the pass, each of a sequence of its own where there are several. */
  readonly count: number;
  /** Positions that each has room for: of many, attention takes parts. */
  readonly positions: number;
  readonly quantized: boolean;
}

/** Commands that one pass over new tokens takes, on a device that only counts. */
async function commandsOf(type: string, layers: number, staging: (typeof BLOCKS_STAGING_NAMES)[number], of: Sequences) {
  const [device, way] = stagings.get(staging);
  const counting = device.counting();
  const path = folder.at(`${type}-${layers}`);
  const config = await loadConfig(path);
  await using checkpoint = await Checkpoint.open(join(path, "model.safetensors"));
  const options = of.quantized ? { quantize: "Q8_0" as const } : {};
  const weights = DecoderWeights.allocate(counting, checkpoint, config, options);
  using cache = new KvCache(counting, config);
  await cache.reserve(of.positions);
  using run = new Run(counting, way);
  const numbers = (label: string) => run.allocate(label, [1, of.count], "U32");
  const tables = config.ropes.map(({ size }) => {
    const table = () => run.allocate("angles", [of.count, size / 2]);
    return { cos: table(), sin: table() };
  });
  const rows = of.count === 1 ? undefined : { own: numbers("rows"), first: numbers("first") };
  const past = { layer: (index: number) => ({ ...cache.slot.past().layer(index), rows }) };
  const linears = of.count === 1 ? PLAIN_LINEARS : batchLinears(PLAIN_LINEARS, of.count);
  const { layerTable } = weights;
  const ofLayers = layerTable && run.allocate("rows of layers", [of.count, layerTable.cols]);
  recordPass(run, { config, weights, linears, tables, past }, numbers("ids"), ofLayers);
  const commands = run.take().count;
  weights.release();
  return commands;
}

describe.each(BLOCKS_STAGING_NAMES)("%s", (staging) => {
  test.each([
    ["a token far behind", { count: 1, positions: 2000, quantized: false }],
    ["a token of each of four sequences", { count: 4, positions: 2000, quantized: false }],
    ["a token, quantized weights", { count: 1, positions: 20, quantized: true }],
  ] as const)("%s takes few commands a layer, of every architecture", async (_, of) => {
    const [, way] = stagings.get(staging);
    const onGpu = of.positions > 1000 ? MOST_OF_TILES : MOST;
    const most = way.kind !== "cpu" ? onGpu : way.fma === true ? MOST : MOST_PLAIN;
    const each: Record<string, number> = {};
    for (const type of ARCHITECTURE_CASES) {
      const [few, many] = [await commandsOf(type, FEW, staging, of), await commandsOf(type, MANY, staging, of)];
      each[type] = (many - few) / (MANY - FEW);
    }
    expect(ARCHITECTURE_CASES.length).toBeGreaterThan(5);
    const above = ([type, commands]: [string, number]) => !(commands > 0 && commands <= most + (MORE[type] ?? 0));
    expect(Object.entries(each).filter(above)).toEqual([]);
  });
});
