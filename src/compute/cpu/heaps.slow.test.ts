import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Parameters, ROLES } from "../../adapters/method/parameters.ts";
import type { DeviceBuffer } from "../device/buffer.ts";
import { AdamW } from "../../train/loop/adamw.ts";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { type LayerCache, matricesOf } from "../../models/blocks/sight.ts";
import { KvCache, SlotPool } from "../../models/decoder/cache/slot-pool.ts";
import { Run } from "../tensor/run.ts";
import { OPS } from "../tensor/ops/index.ts";
import { outcomeOf, settingsFor, trainInto, writeTexts } from "../../train/testing/runs.ts";
import { isRight } from "../tensor/cases/compare.ts";
import { compareFamily, FAMILY_CASES } from "../tensor/cases/families/index.ts";
import { CpuDevice } from "./cpu.ts";
import { cpuBuffer } from "./memory.ts";
import { scatter } from "./testing/heaps.ts";
import { logitsAfter } from "../../models/testing/logits.ts";

const MIB = 2 ** 20;
/** So small that a model's weights do not fit beside activations. */
const SMALL = { bytes: 5 * MIB, count: 8, free: () => Infinity };

/** Heaps in which this device's buffers were made. */
function heapsOf(device: CpuDevice): Set<number> {
  const { memory } = device;
  const allocate = memory.allocate.bind(memory);
  const seen = new Set<number>();
  memory.allocate = (...asked) => {
    const buffer = allocate(...asked);
    seen.add(buffer.block?.heap ?? -1);
    return buffer;
  };
  return seen;
}

describe("every buffer in another heap", () => {
  let scattered: CpuDevice;
  beforeAll(async () => {
    scattered = await CpuDevice.open({ threads: 2 });
    scatter(scattered);
  });
  afterAll(() => scattered.close());

  test.each(FAMILY_CASES.map((one) => [`${one.family}, ${one.format}, ${one.name}`, one] as const))(
    "%s",
    async (_, one) => {
      const found = await compareFamily(one, scattered);
      expect(found.filter((comparison) => !isRight(comparison))).toEqual([]);
    },
  );
});

test("a model whose weights lie in several heaps writes what it writes in one", async () => {
  const ids = Array.from({ length: 60 }, (_, at) => (at * 37) % 500);
  const logits = async (device: CpuDevice) => {
    using decoder = await loadDecoder(device, STORIES);
    return await logitsAfter(decoder, ids);
  };
  using whole = await CpuDevice.open({ threads: 2 });
  using split = await CpuDevice.open({ threads: 2, heaps: SMALL });
  const heaps = heapsOf(split);
  const wanted = await logits(whole);
  expect(await logits(split)).toEqual(wanted);
  expect(heaps.has(0) && heaps.has(1)).toBe(true);
  expect(split.memory.liveBytes).toBe(0);
});

test.each(["randlora", "full"])("training in several heaps ends at the same bytes: %s", async (method) => {
  await using folder = await TemporaryFolder.create();
  const data = await writeTexts(folder.at("train.jsonl"), 8);
  // How gradients' norm is summed follows from chunks of parameters, and those from the size of heaps: it counts for nothing here, and
  // is left out.
  const settings = await settingsFor({ data, method, steps: 2, batchSize: 4, learningRate: 5e-3, gradClip: 0 });
  const outcomes = [];
  for (const heaps of [undefined, SMALL]) {
    using device = await CpuDevice.open({ threads: 2, heaps });
    const seen = heapsOf(device);
    const run = folder.at(heaps === undefined ? "whole" : "split");
    await trainInto(run, settings, undefined, undefined, device);
    expect(seen.size > 1).toBe(heaps !== undefined);
    const { "metrics.jsonl": metrics, "metrics.csv": _table, ...files } = await outcomeOf(run);
    outcomes.push({ ...files, metrics: metrics?.replaceAll(/"grad_norm":[^,]+,/g, "") });
  }
  expect(outcomes[1]).toEqual(outcomes[0]);
});

test("what AdamW works on together lies in one heap; chunks are the same with any number of threads, and spread over heaps", async () => {
  const plans = Array.from({ length: 40 }, (_, at) => ({ name: String(at), shape: [300, 100 + at] as const }));
  const sizes = [];
  for (const threads of [1, 3]) {
    using device = await CpuDevice.open({ threads, heaps: { ...SMALL, bytes: 24 * MIB } });
    const parameters = new Parameters(device, plans);
    const heapOf = (buffer: DeviceBuffer) => cpuBuffer(buffer).block?.heap;
    const heaps = parameters.chunks.map((chunk) => new Set(ROLES.map((role) => heapOf(chunk[role]))));
    expect(heaps.map(({ size }) => size)).toEqual(heaps.map(() => 1));
    expect(new Set(heaps.flatMap((one) => [...one])).size).toBeGreaterThan(1);
    sizes.push(parameters.chunks.map(({ size }) => size));
    parameters.release();
    expect(device.memory.liveBytes).toBe(0);
  }
  expect(sizes[1]).toEqual(sizes[0] ?? []);
});

test("a tensor whose values, gradients and moments fit no heap together takes the same step", async () => {
  const shape = [3100, 1000] as const;
  const results = [];
  for (const bytes of [96 * MIB, 48 * MIB]) {
    using device = await CpuDevice.open({ threads: 2, heaps: { bytes, count: 6, free: () => Infinity } });
    const parameters = new Parameters(device, [{ name: "large", shape }]);
    const adamw = new AdamW(device, parameters, { betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.1, gradClip: 1 });
    const numbers = (turn: number) =>
      Float32Array.from({ length: shape[0] * shape[1] }, (_, at) => ((at * turn) % 997) / 997);
    for (const [at, role] of ROLES.entries()) parameters.write("large", role, numbers(at + 1));
    using run = new Run(device);
    adamw.update(run, 1, 1e-2);
    await run.submit();
    results.push(await Promise.all(ROLES.map((role) => parameters.read("large", role))));
    const heaps = new Set(
      parameters.chunks.flatMap((chunk) => ROLES.map((role) => cpuBuffer(chunk[role]).block?.heap)),
    );
    expect(heaps.size > 1).toBe(bytes === 48 * MIB);
    adamw.release();
    parameters.release();
  }
  expect(results[1]).toEqual(results[0] ?? []);
});

test("keys and values of a layer lie in one heap, wherever a pool or a cache comes to an end of one", async () => {
  using device = await CpuDevice.open({ threads: 1, heaps: SMALL });
  const config = await loadConfig(STORIES);
  const heapsUsed = new Set<number>();
  const together = (layers: readonly LayerCache[]) => {
    for (const layer of layers) {
      const [ofKeys, ofValues] = matricesOf(layer).map(({ buffer }) => cpuBuffer(buffer).block?.heap ?? -1);
      expect(ofValues).toBe(ofKeys ?? NaN);
      heapsUsed.add(ofKeys ?? -1);
    }
  };
  for (let positions = 256; positions <= 4096; positions += 256) {
    using pool = new SlotPool(device, config, { positions: 8192, sequences: 1, dtype: "F32" });
    const slot = pool.acquire();
    await pool.reserve(slot, positions);
    together(pool.groups.flatMap(({ layers }) => layers));
    using cache = new KvCache(device, config);
    for (const length of [256, positions]) await cache.reserve(length);
    const { layer } = cache.slot.past();
    together(config.layers.map((_, index) => layer(index)));
  }
  expect(heapsUsed.size).toBeGreaterThan(1);
  expect(device.memory.liveBytes).toBe(0);
});

test("what the machine has no room for is refused when it is asked for, and nothing of it stays; the device goes on", async () => {
  let free = 64 * MIB;
  using device = await CpuDevice.open({ threads: 1, heaps: { bytes: 256 * MIB, count: 2, free: () => free } });
  expect(() => device.memory.allocate("weights", 128 * MIB)).toThrow(
    expect.objectContaining({ code: "memory", message: expect.stringContaining("weights: the machine has no room") }),
  );
  expect(device.memory.liveBytes).toBe(0);
  expect(() => device.memory.allocate("weights", 300 * MIB)).toThrow(
    "needs one buffer of 0.3 GB, the CPU device allows",
  );
  // Of two that no heap has room for together, none is kept where one is refused.
  free = 256 * MIB;
  expect(() => device.memory.allocateTogether(["keys", "values"], 160 * MIB)).toThrow(
    "values: the machine has no room",
  );
  expect(device.memory.liveBytes).toBe(0);
  using cache = new KvCache(device, await loadConfig(STORIES));
  await cache.reserve(10);
  const [{ bytes }, { liveBytes }] = [cache, device.memory];
  await expect(cache.reserve(400_000)).rejects.toThrow("the machine has no room");
  expect([device.memory.liveBytes, cache.bytes]).toEqual([liveBytes, bytes]);
  free = 512 * MIB;
  device.memory.release(device.memory.allocate("weights", 128 * MIB));
  await device.idle();
});

test("a counting device takes what the real one takes, and computes nothing", async () => {
  using device = await CpuDevice.open({ threads: 2 });
  const counting = device.counting();
  for (const one of [counting, device]) {
    using run = new Run(one);
    const x = run.upload("x", [30, 40], new Float32Array(1200).fill(1));
    const { y } = run.apply(OPS.linear, { x, weight: x, bias: undefined, residual: undefined }, {});
    run.keep(y);
    await run.submit();
    await one.idle();
    const [sum] = await one.readWith([{ buffer: y.buffer, offset: 0, size: 4 }], async ([bytes]) => [
      new Float32Array(bytes?.slice().buffer ?? [])[0],
    ]);
    expect(sum).toBe(one === counting ? 0 : 40);
    one.memory.release(y.buffer);
  }
  expect(counting.memory.peakLiveBytes).toBe(device.memory.peakLiveBytes);
  expect(counting.limits).toEqual(device.limits);
});

test("--profile: calls and time by kernel, the longest first, copies among them", async () => {
  using device = await CpuDevice.open({ threads: 2, profile: true });
  using run = new Run(device);
  const x = run.upload("x", [300, 400], new Float32Array(120_000).fill(1));
  for (let at = 0; at < 3; at++) run.apply(OPS.linear, { x, weight: x, bias: undefined, residual: undefined }, {});
  run.apply(OPS.add, { a: x, b: x }, {});
  await run.submit();
  const other = device.memory.allocate("other", 4096);
  device.copy([{ from: x.buffer, to: other, size: 4096 }]);
  const report = (await device.profiler?.report()) ?? [];
  const calls = Object.fromEntries(report.map(({ kernel, calls: times }) => [kernel, times]));
  expect(calls).toMatchObject({ add: 1, copy: 1 });
  expect(Object.values(calls).includes(3)).toBe(true);
  const seconds = report.map((one) => one.seconds);
  expect(seconds).toEqual(seconds.toSorted((left, right) => right - left));
  expect(seconds[0]).toBeGreaterThan(0);
  device.memory.release(other);
});

test("--profile: what lay in memory before is no time", async () => {
  using device = await CpuDevice.open({ threads: 2, profile: true });
  const [from, to] = [device.memory.allocate("from", 4096), device.memory.allocate("to", 4096)];
  const before = device.memory.allocate("before", 2 ** 16);
  // As ticks these bytes would be 213 seconds.
  device.write(before, new Uint8Array(2 ** 16).fill(0x7f));
  device.memory.release(before);
  device.copy([{ from, to, size: 4096 }]);
  const [copied] = (await device.profiler?.report()) ?? [];
  expect(copied).toMatchObject({ kernel: "copy", calls: 1 });
  expect(copied?.seconds).toBeLessThan(200);
});
