// A row of python/decoders.py is a model, which goes the whole way here: what it computes, trains and merges to.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import type { Device } from "../src/compute/device/device.ts";
import { openTestDevice } from "../src/compute/device/testing/open.ts";
import { readRows } from "../src/compute/tensor/read-rows.ts";
import { Run } from "../src/compute/tensor/run.ts";
import type { Decoder } from "../src/models/decoder/decoder.ts";
import { loadDecoder } from "../src/models/folder/load-decoder.ts";
import { recordForward, recordLogits } from "../src/models/decoder/forward.ts";
import { judge } from "./judge.ts";
import { openTensors } from "./tensors.ts";
import { distanceOfMerge, farthest, largestRelative, trainOurs, trainTheirs, type Options } from "./training-judge.ts";
import { jsonLines, STORY_TEXTS } from "./training-texts.ts";
import { passed } from "./verified.ts";
import { bestOf, logitsAfter } from "../src/models/testing/logits.ts";

const python = await judge();
const rows = await python.request(v.array(v.string()), "architecture_rows", {});
const Prompts = v.record(v.string(), v.object({ ids: v.array(v.number()), greedy: v.array(v.number()) }));
const TIMEOUT = 300_000;

/** Of the largest logit, at every position. */
const LOGITS = 1e-4;
/** Of a loss, at each of the steps. */
const LOSS = 2e-3;
const TRAINED: Options = { steps: 15, "batch-size": 2, "learning-rate": 3e-3, rank: 4, "max-length": 60 };
const METHODS: Readonly<Record<string, Options>> = {
  randlora: { ...TRAINED, targets: "q_proj,v_proj,o_proj" },
  lora: { ...TRAINED, method: "lora", targets: "all-linear" },
};

let gpu: Device;
let folder: string;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await mkdtemp(join(tmpdir(), "randlora-architectures-"));
});
afterAll(async () => {
  gpu.close();
  await rm(folder, { recursive: true });
});

/** The logits of every position of a prompt, taken in passes of so many tokens. */
async function logitsOf(decoder: Decoder, ids: readonly number[], passes: readonly number[]): Promise<Float32Array> {
  const { config, weights, linears } = decoder;
  const all = new Float32Array(ids.length * config.vocabularySize);
  using run = new Run(gpu);
  using cache = decoder.createCache();
  let first = 0;
  for (const count of passes) {
    const some = ids.slice(first, first + count);
    await cache.reserve(first + some.length);
    const hidden = recordForward(run, config, weights, linears, cache.slot, some, ids.length);
    const logits = run.keep(recordLogits(run, config, weights, hidden));
    await run.submit();
    all.set(await readRows(gpu, logits, 0, some.length), first * config.vocabularySize);
    gpu.memory.release(logits.buffer);
    first += some.length;
  }
  expect(first).toBe(ids.length);
  return all;
}

/** Tokens as they follow greedily, a token a pass; where they part from those wanted our two best logits must be as good as equal. */
async function expectGreedy(decoder: Decoder, ids: readonly number[], wanted: readonly number[]): Promise<void> {
  using cache = decoder.createCache();
  let last = ids;
  for (const [at, token] of wanted.entries()) {
    const { ids: best, logits } = bestOf(await logitsAfter(decoder, last, cache), 2);
    const [largest = NaN, second = NaN] = logits;
    if (best[0] !== token) {
      expect(largest - second, `token ${at} differs`).toBeLessThan(1e-4 * Math.abs(largest));
      return;
    }
    last = [token];
  }
}

/** What `all-linear` is said as of mixtures of experts: PEFT 0.21 makes it mean routers and experts as well, which are no linear layers. */
const ATTENTION = "q_proj,k_proj,v_proj,o_proj";
// Gemma 4's files have tensors of all experts alone, as gpt-oss's, and its router is a linear layer.
const isMixture = (name: string) => /^(?:mixtral|olmoe|qwen3_next|(?!granitemoehybrid|gemma4).*moe)/.test(name);

/**
 * Experts' matrices as parameters of a layer, and the router; those of each expert by themselves, where files have them so. Of each expert's
 * gate and up PEFT makes factors of twice the rank together, and trains more of them than the file has; where it adapts experts of a name, it
 * does not adapt the modules of dense layers that are called the same.
 */
const EXPERTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  mixtral: { "lora of parameters": "q_proj,gate_up_proj,down_proj,gate", "lora of experts": "q_proj,w2" },
  qwen3_moe: {
    "lora of parameters": "experts.gate_up_proj,experts.down_proj",
  },
  qwen2_moe: {
    "lora of parameters": "q_proj,v_proj,shared_expert.down_proj,shared_expert_gate,experts.down_proj,gate",
  },
  qwen3_vl_moe: { "lora of parameters": "q_proj,experts.gate_up_proj,experts.down_proj" },
  olmoe: { "lora of parameters": "experts.down_proj,gate", "lora of experts": "v_proj,down_proj" },
  granitemoe: { "lora of parameters": "gate_up_proj,down_proj,router" },
  gpt_oss: { "lora of parameters": "q_proj,experts.gate_up_proj,experts.down_proj,router" },
  "gemma4-moe": {
    "lora of parameters": "q_proj,mlp.gate_proj,experts.gate_up_proj,experts.down_proj,router.proj",
  },
  lfm2_moe: {
    "lora of parameters": "in_proj,gate_up_proj,down_proj,gate",
    "lora of experts": String.raw`.*\.(in_proj|experts\.(\d+\.)?w2)`,
  },
};

/** Every method of PEFT's on weights that are stored transposed. */
const TRANSPOSED: Readonly<Record<string, Options>> = {
  dora: { ...TRAINED, method: "dora", targets: "c_attn,c_fc,c_proj" },
  vera: { ...TRAINED, method: "vera", rank: 16, "learning-rate": 5e-2, targets: "c_attn,c_proj" },
};

/** Factors of outputs between which there are others that no module has: six heads take the place of eight. */
const OF_HEADS: Readonly<Record<string, Options>> = {
  dora: { ...TRAINED, method: "dora", targets: "in_proj_z,in_proj_b,in_proj_a" },
};

/** Other methods on the experts of gpt-oss, which the judge makes linear layers. */
const OF_EXPERTS: Readonly<Record<string, Options>> = {
  // A token goes to another expert where a step is long.
  "randlora of experts": { ...TRAINED, "learning-rate": 1e-3, targets: "q_proj,gate_up_proj,down_proj" },
  "vera of experts": { ...TRAINED, method: "vera", rank: 16, "learning-rate": 5e-2, targets: "gate_up_proj,down_proj" },
};

/** What layers without attention have for its projections. */
const BESIDE: Readonly<Record<string, string>> = {
  lfm2: "in_proj",
  lfm2_moe: "in_proj",
  qwen3_5_text: "in_proj_qkv,in_proj_a",
  qwen3_5: "in_proj_z,in_proj_b",
  qwen3_5_moe_text: "in_proj_z,in_proj_a",
  qwen3_5_moe: "in_proj_z,in_proj_a",
  qwen3_next: "in_proj_qkvz,in_proj_ba,out_proj",
};

/** Modules that architectures have instead of `o_proj`, or of all that are named. */
function targetsOf(name: string, asked: string): string {
  const meant = asked === "all-linear" && (isMixture(name) || name.startsWith("gpt_oss")) ? ATTENTION : asked;
  if (name.startsWith("phi3")) return meant.replace("q_proj,v_proj", "qkv_proj,gate_up_proj");
  if (name === "phi") return meant.replace("o_proj", "dense");
  if (name.startsWith("gpt_neox")) return meant.replace("q_proj,v_proj,o_proj", "query_key_value,dense");
  if (name === "gpt2") return meant.replace("q_proj,v_proj,o_proj", "c_attn,c_proj");
  return meant.replace("o_proj", BESIDE[name] ?? "o_proj");
}

/** Architectures take the two in turn: which of them trains makes little difference to the layers below. */
const turn = (name: string): [from: number, end: number] => (rows.indexOf(name) % 2 === 0 ? [0, 1] : [1, 2]);

function methodsOf(name: string): [string, Options][] {
  const experts = Object.entries(EXPERTS[name] ?? {});
  return [
    ...(name.includes("-") && !name.endsWith("-sizes") ? [] : Object.entries(METHODS).slice(...turn(name))),
    ...Object.entries(
      name === "gpt2" ? TRANSPOSED : name === "gpt_oss" ? OF_EXPERTS : name === "qwen3_5_moe_text" ? OF_HEADS : {},
    ),
    ...experts.map(([method, targets]): [string, Options] => [method, { ...TRAINED, method: "lora", targets }]),
  ];
}

/** The same model with tensors of all experts. */
const fusedOf = (base: string) => `${base}-fused`;

describe.each(rows)("%s", (name) => {
  let base: string;
  let prompts: v.InferOutput<typeof Prompts>;
  beforeAll(async () => {
    base = join(folder, name);
    prompts = await python.request(Prompts, "make_architecture", { name, out: base });
    for (const file of ["tokenizer.json", "tokenizer_config.json"]) await cp(join(STORIES, file), join(base, file));
  }, TIMEOUT);

  test(
    "computes transformers' logits at every position, and its greedy tokens",
    async () => {
      using decoder = await loadDecoder(gpu, base);
      expect(decoder.config.architecture).toBe(name.split("-")[0] ?? "");
      const expected = openTensors(join(base, "expected.safetensors"));
      for (const [prompt, { ids, greedy }] of Object.entries(prompts)) {
        const wanted = expected.get(prompt)?.values() ?? new Float32Array();
        const left = Math.floor(ids.length / 3);
        // As a whole, behind a prefix, and a token a pass at the end.
        for (const passes of [[ids.length], [left, ids.length - left], [ids.length - 3, 1, 1, 1]]) {
          expect(farthest(await logitsOf(decoder, ids, passes), wanted)).toBeLessThan(LOGITS);
        }
        await expectGreedy(decoder, ids, greedy);
      }
      await passed(base, ["logits", "texts"]);
    },
    TIMEOUT,
  );

  test(
    "is the same model with the config.json that transformers 4 wrote, and with one tensor of all experts",
    async () => {
      const older = join(folder, `${name}-older`);
      await cp(base, older, { recursive: true });
      await python.request(v.null(), "older_config", { folder: older });
      if (isMixture(name)) await python.request(v.null(), "fused_architecture", { base, out: fusedOf(base) });
      const { ids } = prompts["long"] ?? { ids: [] };
      const found = [];
      for (const model of [base, older, ...(isMixture(name) ? [fusedOf(base)] : [])]) {
        using decoder = await loadDecoder(gpu, model);
        found.push(await logitsOf(decoder, ids, [ids.length]));
      }
      for (const other of found.slice(1)) expect(other).toEqual(found[0] ?? new Float32Array());
    },
    TIMEOUT,
  );

  /** Our merge of an adapter must be PEFT's. */
  const expectMerge = async (model: string, adapter: string, place: string): Promise<void> => {
    expect(await distanceOfMerge(model, adapter, place, model !== base)).toBeLessThan(1e-5);
  };

  // By turns: either way the loader makes the same experts, as the models above have shown.
  test.each(isMixture(name) ? [rows.indexOf(name) % 2 === 0] : [])(
    "merges PEFT's LoRA of experts and routers; files with tensors of all experts: %p",
    async (fused) => {
      const model = fused ? fusedOf(base) : base;
      const place = join(folder, `${name}-experts-${fused}`);
      const router = name === "granitemoe" ? "router.weight" : "gate.weight";
      const parameters = ["experts.gate_up_proj", "experts.down_proj", router];
      const adapter = join(place, "adapter");
      await python.request(v.null(), "expert_adapter", { base: model, modules: ["q_proj"], parameters, out: adapter });
      await expectMerge(model, adapter, place);
    },
    TIMEOUT,
  );

  test.each(methodsOf(name))(
    "trains and merges as PEFT does: %s",
    async (method, given) => {
      const options = { ...given, targets: targetsOf(name, String(given["targets"])) };
      const place = join(folder, `${name}-${method}`);
      const [data, valid] = [join(place, "train.jsonl"), join(place, "valid.jsonl")];
      await Bun.write(data, jsonLines(STORY_TEXTS.training));
      await Bun.write(valid, jsonLines(STORY_TEXTS.heldOut));
      const job = { base, options, data, valid };
      const start = join(place, "start");
      await trainOurs({ ...job, options: { ...options, steps: 1, "learning-rate": 0 } }, start);
      const run = join(place, "run");
      const ours = await trainOurs(job, run);
      const theirs = await trainTheirs(job, 15, join(start, "adapter"), join(place, "theirs"));
      const losses = [ours, theirs].map(({ steps }) => steps.map(({ loss }) => loss));
      expect(largestRelative(losses[0] ?? [], losses[1] ?? [])).toBeLessThan(LOSS);
      // Each five steps the same texts come again.
      const [before = NaN, last = NaN] = [4, 14].map((step) => theirs.steps[step]?.loss);
      expect(before - last).toBeGreaterThan(0.03);

      await expectMerge(base, join(run, "adapter"), place);
      await passed(base, ["training", "merge"]);
    },
    TIMEOUT,
  );
});
