import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { merge } from "../../src/adapters/merge/to-files/run.ts";
import { SILENT } from "../../src/terminal/progress.ts";
import { type PlannedTensor, plannedBytes, SafetensorsWriter } from "../../src/files/safetensors/writer.ts";
import type { Suite } from "../suite.ts";

/** Four layers and the embedding of the 135M model. */
const LAYERS = 4;
const MODULES = {
  "self_attn.q_proj": [576, 576],
  "self_attn.k_proj": [192, 576],
  "self_attn.v_proj": [192, 576],
  "mlp.up_proj": [1536, 576],
  "mlp.down_proj": [576, 1536],
} as const;
const EMBEDDING = [49152, 576] as const;
const R = 16;
const GENERATORS = ["torch-mt19937-bf16-v2", "torch-mt19937-f32", "philox-v1"] as const;

const SETTINGS = {
  dtype: "keep",
  scales: [],
  rounding: "once",
  maxShardSize: 5e9,
  unmerge: false,
  verify: false,
  force: true,
  dryRun: false,
} as const;

interface Layer {
  readonly module: string;
  readonly out: number;
  readonly in: number;
}

const layers: readonly Layer[] = Array.from({ length: LAYERS }, (_, layer) =>
  Object.entries(MODULES).map(([name, [out, input]]) => ({ module: `model.layers.${layer}.${name}`, out, in: input })),
).flat();

/** 2·M·n·r·m, the work that adapting a layer costs. */
function flops({ out, in: input }: Layer): number {
  return 2 * out * input * Math.ceil(Math.min(out, input) / R) * R;
}

/** Repeatable f32 numbers of size about 1. */
function numbers(count: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898));
}

async function writeTensors(
  path: string,
  tensors: readonly PlannedTensor[],
  content: (tensor: PlannedTensor) => Uint8Array,
): Promise<void> {
  await using writer = await SafetensorsWriter.create(path, tensors, new Map([["format", "pt"]]));
  for (const tensor of tensors) await writer.append(tensor.name, content(tensor));
  await writer.finish();
}

async function writeModel(folder: string): Promise<void> {
  await mkdir(folder);
  await writeFile(join(folder, "config.json"), JSON.stringify({ model_type: "llama", torch_dtype: "bfloat16" }));
  const weights = layers.map(({ module, out, in: input }) => ({ name: `${module}.weight`, shape: [out, input] }));
  const all = [{ name: "model.embed_tokens.weight", shape: [...EMBEDDING] }, ...weights];
  const tensors = all.map(({ name, shape }) => ({ name, dtype: "BF16" as const, shape }));
  await writeTensors(join(folder, "model.safetensors"), tensors, (tensor) => {
    const bits = new Uint32Array(numbers(plannedBytes(tensor) / 2).buffer);
    return new Uint8Array(Uint16Array.from(bits, (word) => word >>> 16).buffer);
  });
}

async function writeAdapter(folder: string): Promise<void> {
  await mkdir(folder);
  const targets = Object.keys(MODULES).map((name) => name.split(".")[1]);
  const config = { peft_type: "RANDLORA", r: R, randlora_alpha: 20 * R, target_modules: targets };
  await writeFile(join(folder, "adapter_config.json"), JSON.stringify({ ...config, projection_prng_key: 0 }));
  const tensors = layers.flatMap(({ module, out, in: input }) => {
    const m = Math.min(out, input);
    const n = Math.ceil(m / R);
    return [
      { name: `base_model.model.${module}.randlora_lambda`, dtype: "F32" as const, shape: [R, n] },
      { name: `base_model.model.${module}.randlora_gamma`, dtype: "F32" as const, shape: [n, m] },
    ];
  });
  await writeTensors(join(folder, "adapter_model.safetensors"), tensors, (tensor) => {
    const size = tensor.name.endsWith("gamma") ? 1e-3 : 1e-2;
    return new Uint8Array(numbers(plannedBytes(tensor) / 4).map((value) => size * value).buffer);
  });
}

export const mergeSuite: Suite = {
  name: "merge",
  title: `merge: ${LAYERS} layers and the embedding of the 135M model, r = ${R}, start of the GPU included`,
  unit: "GFLOP/s",
  async *cases(wanted) {
    const chosen = GENERATORS.map((generator) => ({ generator, name: `bases drawn by ${generator}` }));
    if (!chosen.some(({ name }) => wanted(name))) return;
    const folder = await mkdtemp(join(tmpdir(), "randlora-bench-"));
    try {
      const [base, adapter] = [join(folder, "base"), join(folder, "adapter")];
      await writeModel(base);
      await writeAdapter(adapter);
      const amount = layers.reduce((sum, layer) => sum + flops(layer), 0) / 1e9;
      for (const { generator, name } of chosen) {
        const options = { ...SETTINGS, base, adapters: [adapter], generator, out: join(folder, "out") };
        yield {
          name,
          amount,
          async run() {
            const { merged } = await merge(options, SILENT, new AbortController().signal);
            if (merged !== layers.length) throw new Error(`${merged} of ${layers.length} layers merged`);
          },
        };
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};
