import { afterAll, beforeAll, expect, test } from "bun:test";
import { CpuDevice } from "../../compute/cpu/cpu.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { Batch } from "../decoder/cache/batch.ts";
import { loadDecoder } from "../folder/load-decoder.ts";
import { type Linears, PLAIN_LINEARS } from "./linears.ts";
import { ARCHITECTURE_CASES, writeArchitecture } from "../testing/architectures.ts";
import { logitsAfter } from "../testing/logits.ts";

let gpu: CpuDevice;
let folder: TemporaryFolder;
beforeAll(async () => {
  gpu = await CpuDevice.open({ threads: 2 });
  folder = await TemporaryFolder.create();
});
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

/** Norms, sums with branches and gates are commands of their own. */
const STEP_BY_STEP: Linears = { apply: PLAIN_LINEARS.apply };
const PROMPT = Array.from({ length: 40 }, (_, at) => (at * 7) % 20);

test.each(ARCHITECTURE_CASES)(
  "%s: blocks that begin in one command give the bits of those that go step by step",
  async (type) => {
    const path = folder.at(type);
    // GPT-2 has as many positions as it has learned.
    await writeArchitecture(path, type, 2, { n_positions: 64 });
    using decoder = await loadDecoder(gpu, path);
    const before = gpu.memory.liveBytes;
    const written = async (linears: Linears): Promise<Float32Array[]> => {
      decoder.linears = linears;
      using cache = decoder.createCache();
      const logits: Float32Array[] = [];
      for (const ids of [PROMPT, [3], [11]]) {
        logits.push(await logitsAfter(decoder, ids, cache));
      }
      return logits;
    };
    const together = async (linears: Linears): Promise<unknown> => {
      decoder.linears = linears;
      using batch = new Batch(decoder, { rows: 3, positions: 2048 });
      const slots = [];
      for (const length of [5, 40, 1]) {
        const slot = batch.pool.acquire();
        await batch.pass([], { slot, ids: PROMPT.slice(0, length), sequenceLength: length + 1 });
        slots.push(slot);
      }
      return (await batch.pass(slots.map((slot, at) => ({ slot, id: at + 2, top: 3, all: true, lse: true })))).next;
    };
    const wanted = await written(STEP_BY_STEP);
    expect(wanted.flatMap((logits) => [...logits]).every(Number.isFinite)).toBe(true);
    expect(new Set(wanted.map((logits) => logits.join())).size).toBe(3);
    expect(await written(PLAIN_LINEARS)).toEqual(wanted);
    expect(await together(PLAIN_LINEARS)).toEqual(await together(STEP_BY_STEP));
    expect(gpu.memory.liveBytes).toBe(before);
  },
);
