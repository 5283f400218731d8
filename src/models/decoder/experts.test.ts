// What holds of mixtures of experts beyond their logits (architectures/golden.test.ts): whoever is beside a sequence, what is read
// of the weights, and what a training step takes.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { read } from "../../compute/device/transfer.ts";
import { Run } from "../../compute/tensor/run.ts";
import { Tape } from "../../compute/tensor/tape.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { PLAIN_LINEARS } from "../blocks/linears.ts";
import { writeArchitecture } from "../testing/architectures.ts";
import { loadConfig } from "./architectures/index.ts";
import { Batch } from "./cache/batch.ts";
import { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import type { Decoder } from "./decoder.ts";
import { loadDecoder } from "../folder/load-decoder.ts";
import { recordTraining } from "./training.ts";
import { logitsAfter } from "../testing/logits.ts";

setDefaultTimeout(120_000);

let gpu: Device;
let folder: TemporaryFolder;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

async function load(name: string, settings: object): Promise<Decoder> {
  await writeArchitecture(folder.at(name), "mixtral", 2, settings);
  return await loadDecoder(gpu, folder.at(name));
}

const tokens = (seed: number, count: number) => Array.from({ length: count }, (_, at) => (at * 7 + seed * 5) % 20);

test("a sequence's logits are the same bits, whoever is decoded beside it", async () => {
  using decoder = await load("batch", {});
  const results = [];
  for (const others of [[], [1], [2, 3, 4]]) {
    using batch = new Batch(decoder, { rows: 4, positions: 2048 });
    const slots = [];
    for (const seed of [0, ...others]) {
      const slot = batch.pool.acquire();
      await batch.pass([], { slot, ids: tokens(seed, 9 + seed), sequenceLength: 20 });
      slots.push(slot);
    }
    const all = [];
    for (const id of [3, 8, 1]) {
      const [mine] = (
        await batch.pass(slots.map((slot, at) => ({ slot, id: (id + at) % 20, top: 5, all: true, lse: true })))
      ).next;
      all.push(mine);
    }
    results.push(all);
  }
  expect(results[1]).toEqual(results[0]);
  expect(results[2]).toEqual(results[0]);
});

test.each(["mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "lfm2_moe"])(
  "%s is the same model in a file with tensors of all experts, as transformers 5 has them in memory",
  async (type) => {
    const logits = [];
    for (const fused of [false, true]) {
      const at = folder.at(`${type}-${fused}`);
      await writeArchitecture(at, type, 2, { num_dense_layers: 0 }, fused);
      using decoder = await loadDecoder(gpu, at);
      const below = type === "granitemoe" ? "block_sparse_moe" : type === "lfm2_moe" ? "feed_forward" : "mlp";
      await using stored = await Checkpoint.open(at);
      expect(stored.tensors.has(`model.layers.0.${below}.experts.down_proj`)).toBe(fused);
      // They are adapted and trained one by one.
      const down = ["mixtral", "lfm2_moe"].includes(type) ? "w2" : "down_proj";
      const each = type === "mixtral" ? "block_sparse_moe" : below;
      expect(decoder.weights.tensors.has(`model.layers.0.${each}.experts.0.${down}.weight`)).toBe(true);
      using cache = decoder.createCache();
      logits.push(await logitsAfter(decoder, tokens(1, 12), cache));
    }
    expect(logits[1]).toEqual(logits[0] ?? new Float32Array());
  },
);

test("a mixture of no experts is the model with a plain MLP in each layer, as transformers takes it", async () => {
  const logits = [];
  // transformers 5 saves their number by its other name.
  for (const [at, name] of ["num_experts", "num_experts", "num_local_experts"].entries()) {
    const path = folder.at(`none-${at}`);
    await writeArchitecture(path, at === 0 ? "qwen3" : "qwen3_moe", 2, { [name]: 0 });
    using decoder = await loadDecoder(gpu, path);
    logits.push(await logitsAfter(decoder, tokens(1, 12)));
  }
  const [plain = new Float32Array(), ...others] = logits;
  for (const one of others) expect(one).toEqual(plain);
  const refused = () => writeArchitecture(folder.at("mixtral-none"), "mixtral", 1, { num_local_experts: 0 });
  await expect(refused()).rejects.toThrow("layers of 0 experts");
});

test("a token reads the weights of its own experts alone", async () => {
  using decoder = await load("read", { num_local_experts: 16, num_experts_per_tok: 1 });
  const logitsOf = async () => {
    return await logitsAfter(decoder, [7]);
  };
  const before = await logitsOf();
  // Of each layer all experts but one may hold anything: whichever the token goes to, the logits are whole again.
  let same = 0;
  for (let expert = 0; expert < 16; expert++) {
    const spoiled = [...decoder.weights.tensors].filter(
      ([name]) => name.includes(".experts.") && !name.includes(`.experts.${expert}.`) && name.includes("layers.1."),
    );
    const saved: Uint8Array<ArrayBuffer>[] = [];
    for (const [, { buffer, offset, pitch, shape }] of spoiled) {
      const range = { buffer, offset: offset * 4, size: shape[0] * pitch * 4 };
      saved.push((await read(gpu, buffer)).slice(range.offset, range.offset + range.size));
      gpu.write(buffer, new Uint32Array(range.size / 4).fill(0x7fc00000), range.offset);
    }
    const logits = await logitsOf();
    if (logits.every((value, at) => value === before[at])) same++;
    else expect(logits.every(Number.isNaN)).toBe(true);
    spoiled.forEach(([, { buffer, offset }], at) => gpu.write(buffer, saved[at] ?? new Uint8Array(), offset * 4));
  }
  expect(same).toBe(1);
});

test("a training step takes no more memory with 64 experts than with 8, but for logits and weights", async () => {
  const peaks = [];
  for (const experts of [8, 64]) {
    using decoder = await load(`${experts}`, { num_local_experts: experts });
    const config = await loadConfig(folder.at(`${experts}`));
    const count = 40;
    const rows = Uint32Array.from({ length: count - 1 }, (_, at) => at);
    const batch = {
      ids: Uint32Array.from(tokens(1, count)),
      positions: Uint32Array.from({ length: count }, (_, at) => at),
      starts: new Uint32Array(count),
      rows,
      targets: rows.map((row) => row % 20),
    };
    const watched = decoder.weights.tensors.get("model.layers.0.self_attn.q_proj.weight");
    if (watched === undefined) throw new Error("no q_proj");
    const gradient = gpu.memory.allocate("gradient", watched.buffer.size);
    const before = gpu.memory.liveBytes;
    let most = 0;
    {
      using run = new Run(gpu);
      const tape = new Tape(run);
      tape.watch(watched, { ...watched, buffer: gradient });
      const nll = recordTraining(tape, config, decoder.weights, PLAIN_LINEARS, batch, {});
      tape.backward(nll, run.upload("ones", nll.shape, new Float32Array(nll.shape[0]).fill(1)));
      tape.release(nll);
      most = gpu.memory.liveBytes - before;
      await run.submit();
    }
    gpu.memory.release(gradient);
    peaks.push(most);
  }
  const [few = NaN, many = NaN] = peaks;
  const oneCopy = 2 * 64 * 3 * 32 * 64 * 4;
  expect(many - few).toBeLessThan(oneCopy / 8);
});
