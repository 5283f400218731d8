/*
 * `bun bench/memory.ts`: the peak memory of `randlora merge` on large synthetic checkpoints, against the bound
 * of 250 MB + 4 × the stored bytes of the largest adapted tensor. Writes up to 10 GB into the temporary folder (TMPDIR)
 * and removes it again. The weights are zeros: neither memory nor time depends on them.
 */
import { mkdir, mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatBytes, formatDuration } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import { encodeHeader, type PlannedTensor, plannedBytes } from "../src/files/safetensors/writer.ts";
import { writeShards } from "./shards.ts";

const MAIN = join(import.meta.dir, "../cmd/main.ts");
const FIXED_BYTES = 250e6;
const SHARD_BYTES = 1e9;

/** (out, in). */
type Shape = readonly [out: number, input: number];

export interface MemoryCase {
  readonly name: string;
  /** Adapted in every layer. */
  readonly modules: Readonly<Record<string, Shape>>;
  readonly layers: number;
  /** Bytes of tensors that nothing is done to. */
  readonly untouchedBytes: number;
  readonly r: number;
  readonly sparse: boolean;
  readonly verify: boolean;
}

export interface MemoryResult {
  readonly checkpointBytes: number;
  readonly largestBytes: number;
  readonly peakBytes: number;
  readonly boundBytes: number;
  readonly seconds: number;
}

/** Llama-3-8B's layers. */
const LLAMA_8B: MemoryCase["modules"] = {
  "self_attn.q_proj": [4096, 4096],
  "self_attn.k_proj": [1024, 4096],
  "self_attn.v_proj": [1024, 4096],
  "mlp.up_proj": [14336, 4096],
  "mlp.down_proj": [4096, 14336],
};

const CASES: readonly MemoryCase[] = [
  {
    name: "4 GB, small tensors adapted",
    modules: { "self_attn.q_proj": [1024, 1024], "self_attn.v_proj": [256, 1024] },
    layers: 4,
    untouchedBytes: 4e9,
    r: 16,
    sparse: true,
    verify: false,
  },
  {
    name: "Llama-3-8B's, sparse",
    modules: LLAMA_8B,
    layers: 1,
    untouchedBytes: 1e8,
    r: 32,
    sparse: true,
    verify: true,
  },
  {
    name: "Llama-3-8B's, dense",
    modules: LLAMA_8B,
    layers: 1,
    untouchedBytes: 1e8,
    r: 32,
    sparse: false,
    verify: true,
  },
];

/** Makes the checkpoint and an adapter, merges them in a process of its own, and removes everything. */
export async function measureMemory(one: MemoryCase): Promise<MemoryResult> {
  const folder = await mkdtemp(join(tmpdir(), "randlora-memory-"));
  try {
    const checkpointBytes = await makeBase(join(folder, "base"), one);
    await makeAdapter(join(folder, "adapter"), one);
    const generator = one.sparse ? [] : ["--generator", "torch-mt19937-bf16-v2"];
    const args = ["merge", join(folder, "base"), join(folder, "adapter"), "--out", join(folder, "out"), "--json"];
    const start = performance.now();
    const child = Bun.spawn([process.execPath, MAIN, ...args, ...generator, ...(one.verify ? ["--verify"] : [])], {
      env: { ...process.env, RANDLORA_QUIET: "true" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [stdout, status] = await Promise.all([child.stdout.text(), child.exited]);
    if (status !== 0) throw new Error(`the merge ended with status ${status}`);
    const { peak_rss_bytes: reported }: { peak_rss_bytes: number } = JSON.parse(stdout);
    const largestBytes = Math.max(...Object.values(one.modules).map(([out, input]) => 2 * out * input));
    return {
      checkpointBytes,
      largestBytes,
      peakBytes: reported,
      boundBytes: FIXED_BYTES + 4 * largestBytes,
      seconds: (performance.now() - start) / 1000,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A sharded checkpoint in bf16 whose data are holes in its files. */
async function makeBase(folder: string, { modules, layers, untouchedBytes }: MemoryCase): Promise<number> {
  await mkdir(folder);
  const tensors: PlannedTensor[] = [];
  const add = (name: string, shape: readonly number[]) => tensors.push({ name, dtype: "BF16", shape });
  const rest = 5e7;
  for (let i = 0; i < untouchedBytes / (2 * rest); i++) add(`model.rest.${i}.weight`, [1000, rest / 1000]);
  for (let layer = 0; layer < layers; layer++) {
    for (const [name, shape] of Object.entries(modules)) add(`model.layers.${layer}.${name}.weight`, shape);
  }
  await writeFile(join(folder, "config.json"), '{"model_type": "llama"}\n');
  return await writeShards(folder, tensors, SHARD_BYTES);
}

async function makeAdapter(folder: string, { modules, layers, r, sparse }: MemoryCase): Promise<void> {
  await mkdir(folder);
  const tensors: PlannedTensor[] = [];
  for (let layer = 0; layer < layers; layer++) {
    for (const [name, [out, input]] of Object.entries(modules)) {
      const path = `base_model.model.model.layers.${layer}.${name}`;
      const n = Math.ceil(Math.min(out, input) / r);
      tensors.push({ name: `${path}.randlora_lambda`, dtype: "F32", shape: [r, n] });
      tensors.push({ name: `${path}.randlora_gamma`, dtype: "F32", shape: [n, Math.min(out, input)] });
    }
  }
  const config = {
    peft_type: "RANDLORA",
    r,
    randlora_alpha: 20 * r,
    sparse,
    target_modules: Object.keys(modules).map((name) => name.replace(/^.*\./, "")),
  };
  await writeFile(join(folder, "adapter_config.json"), JSON.stringify(config));
  await using file = await open(join(folder, "adapter_model.safetensors"), "w");
  await file.write(encodeHeader(tensors));
  for (const tensor of tensors) {
    const values = new Float32Array(plannedBytes(tensor) / 4);
    for (let i = 0; i < values.length; i++) values[i] = 1e-3 * Math.sin(i);
    await file.write(new Uint8Array(values.buffer));
  }
}

if (import.meta.main) {
  const rows: string[][] = [];
  for (const one of CASES) {
    const { checkpointBytes, largestBytes, peakBytes, boundBytes, seconds } = await measureMemory(one);
    const verdict = peakBytes <= boundBytes ? "holds" : "BROKEN";
    const sizes = [checkpointBytes, largestBytes, peakBytes, boundBytes].map(formatBytes);
    rows.push([one.name, ...sizes, verdict, formatDuration(seconds)]);
    if (peakBytes > boundBytes) process.exitCode = 1;
  }
  const head = ["merge", "checkpoint", "largest adapted", "peak memory", "bound", "", "time"];
  process.stdout.write(formatTable(rows, { head, align: "lrrrrlr" }));
}
