import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { Device } from "../../compute/device/device.ts";
import { padded4 } from "../../compute/device/families/delta.ts";
import { readElement } from "../../compute/device/matrix-storage.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import type { Staging } from "../../compute/device/staging.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { read } from "../../compute/device/transfer.ts";
import type { GeneratorName, Sparsity } from "../../compute/random/names.ts";
import { Run } from "../../compute/tensor/run.ts";
import { itemAt } from "../../files/item-at.ts";
import { type JsonObject, stringifyLossless } from "../../files/lossless-json.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { openPeft } from "../formats/peft.ts";
import { drawBases, fingerprint } from "../frozen/drawing/draw.ts";
import { loadFrozen } from "../frozen/origin.ts";
import { baseOf, parameters, writeFolder } from "../testing/adapters.ts";
import { convert, everything } from "../testing/convert.ts";
import { MemoryStdCache } from "../testing/drawn-bases.ts";
import { UNREAD, unreadRows } from "../testing/weights.ts";
import { RANDLORA_BASES } from "./bases.ts";
import { planRandlora } from "./plan.ts";
import { rankRDeltas } from "./rank-r.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const R = 5;
const MODULES = { "m.q": [30, 21], "m.v": [9, 30], "m.down": [21, 34] } as const;
const MIN = 30; // of the largest output and the largest input: 30 and 34
const MAX = 34;
const every = (count: number) => Array.from({ length: count }, (_, i) => i);

interface Case {
  readonly generator: GeneratorName;
  readonly sparsity: Sparsity;
  readonly staging?: Staging["kind"];
  readonly conv1d?: boolean;
}

const specOf = ({ generator, sparsity }: Pick<Case, "generator" | "sparsity">) => {
  return { generator, key: 3n, r: R, max: MAX + MIN, min: MIN, sparsity, grid: "bf16" } as const;
};

/** An adapter of these modules on the disk. */
async function write(
  folder: TemporaryFolder,
  one: Case,
  more: { config?: JsonObject; bases?: JsonObject | null } = {},
) {
  const { grid: dtype, ...spec } = specOf(one);
  const { stdA, stdB, sha256 } = fingerprint({ ...spec, grid: dtype }, new MemoryStdCache());
  const print = { stdA: stdA ?? undefined, stdB: stdB ?? undefined, sha256 };
  const record = { ...RANDLORA_BASES.record({ ...spec, dtype }, print, spec), pairing: "paper", rowsOfA: MIN } as const;
  const config: JsonObject = {
    peft_type: "RANDLORA_RANK_R",
    r: R,
    randlora_alpha: 7,
    projection_prng_key: 3,
    target_modules: ["q", "v", "down"],
    sparse: one.sparsity === "sparse",
    very_sparse: one.sparsity === "very-sparse",
    fan_in_fan_out: one.conv1d === true,
    ...more.config,
  };
  const shorter = Object.fromEntries(
    Object.entries(MODULES).map(([name, [out, input]]) => [name, Math.min(out, input)]),
  );
  const bases = { ...RANDLORA_BASES.format(record), ...more.bases };
  const metadata = { format: "pt", ...(more.bases === null ? {} : { randlora_bases: stringifyLossless(bases, 0) }) };
  return await writeFolder(folder.at("a"), config, parameters(R, shorter), metadata);
}

function baseFor(conv1d = false) {
  const shapes = Object.entries(MODULES).map(([name, [out, input]]) => {
    return [`${name}.weight`, conv1d ? [input, out] : [out, input]] as const;
  });
  return baseOf(Object.fromEntries(shapes), {});
}

/** α/r · (Σⱼ BⱼΛⱼ)(Σⱼ AⱼΓⱼ), or the transpose of that, base by base. */
function definition(one: Case, module: keyof typeof MODULES): Float64Array {
  const [out, input] = MODULES[module];
  const [long, short] = [Math.max(out, input), Math.min(out, input)];
  const n = Math.ceil(short / R);
  const { b } = drawBases(specOf(one), { rows: MAX + MIN, bases: 6, cols: MIN }, new MemoryStdCache());
  const own = parameters(R, Object.fromEntries(Object.entries(MODULES).map(([m, [o, i]]) => [m, Math.min(o, i)])), "");
  const numbersOf = (name: string) => new Float32Array(own[`${module}.${name}`]?.data.buffer ?? new ArrayBuffer());
  const [lambda, gamma] = [numbersOf("randlora_lambda"), numbersOf("randlora_gamma")];
  const left = (i: number, k: number) => {
    return every(n).reduce((sum, j) => sum + readElement(b, i, j * R + k) * itemAt(lambda, k * n + j), 0);
  };
  const right = (k: number, c: number) => {
    return every(n).reduce((sum, j) => sum + readElement(b, MAX + c, j * R + k) * itemAt(gamma, j * short + c), 0);
  };
  const [lefts, rights] = [every(long * R), every(short * R)].map((all, at) =>
    all.map((index) => {
      const [row, k] = [Math.floor(index / R), index % R];
      return at === 0 ? left(row, k) : right(k, row);
    }),
  );
  return Float64Array.from({ length: out * input }, (_, at) => {
    const [row, col] = [Math.floor(at / input), at % input];
    const [i, c] = out >= input ? [row, col] : [col, row];
    return every(R).reduce((sum, k) => sum + (lefts?.[i * R + k] ?? NaN) * (rights?.[c * R + k] ?? NaN), 0) * (7 / R);
  });
}

test.each<Case>([
  { generator: "torch-mt19937-bf16-v2", sparsity: "dense" },
  { generator: "torch-mt19937-ternary", sparsity: "sparse", staging: "workgroup" },
  { generator: "philox-v1", sparsity: "dense", conv1d: true },
  { generator: "philox-v1", sparsity: "very-sparse", staging: "workgroup", conv1d: true },
])("ΔW is the product of both sums: %j", async (one) => {
  await using folder = await TemporaryFolder.create();
  await using adapter = await openPeft(await write(folder, one));
  const plan = planRandlora(adapter, baseFor(one.conv1d));
  const bases = await loadFrozen(RANDLORA_BASES, adapter.file, plan.origin, plan.config, plan.extent, {
    cache: new MemoryStdCache(),
  });
  const before = gpu.memory.liveBytes;
  const staging = one.staging === "workgroup" ? ({ kind: "workgroup" } as const) : gpu.staging;
  const owner = new DisposableStack();
  const source = rankRDeltas(plan, bases, MAX);
  const deltas = await source.upload(ownedBy(owner, gpu), staging);
  for (const [index, module] of (["m.q", "m.v", "m.down"] as const).entries()) {
    const [out, input] = MODULES[module];
    const [rows, cols] = one.conv1d === true ? [input, out] : [out, input];
    const pitch = padded4(cols);
    const layer = await deltas.layer(index, 2, UNREAD);
    const target = gpu.memory.allocate("target", rows * pitch * 4);
    using run = new Run(gpu, staging);
    layer.form(run, { firstRow: 0, rows, pitch, target, ...unreadRows(target, cols) });
    await run.submit();
    const all = new Float32Array((await read(gpu, target)).buffer);
    layer.release();
    gpu.memory.release(target);
    const want = definition(one, module).map((value) => 2 * value);
    const reference = await source.reference(index, 2, { rows: every(out), cols: every(input) }, UNREAD);
    const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    want.forEach((value, at) => {
      const [row, col] = [Math.floor(at / input), at % input];
      const ours = itemAt(all, one.conv1d === true ? col * pitch + row : row * pitch + col);
      expect(Math.abs(itemAt(reference, at) - value)).toBeLessThanOrEqual(1e-12 * largest);
      expect(Math.abs(ours - value)).toBeLessThanOrEqual(1e-6 * largest);
    });
  }
  owner.dispose();
  expect(gpu.memory.liveBytes).toBe(before);
});

const DENSE: Case = { generator: "torch-mt19937-bf16-v2", sparsity: "dense" };

const SPARSE: Case = { generator: "torch-mt19937-ternary", sparsity: "sparse" };

describe("refused with the reason and a hint", () => {
  test.each<[string, Parameters<typeof write>[2], Parameters<typeof baseOf>[0], string, string]>([
    ["nothing about its bases", { bases: null }, {}, "adapter", "it neither holds nor records its bases"],
    ["other rows", { bases: { rows_of_a: 29 } }, {}, "format", '"bases.rows_of_a" is 29, but "bases.min" is 30'],
    ["rows of no model", { bases: { max: 2 ** 31 } }, {}, "adapter", "more than any model has"],
    ["rows of a larger module", {}, { "m.q.weight": [35, 21] }, "adapter", '"m.q" has 35 rows, more than the 34'],
    ["a base of other shapes", {}, { "m.q.weight": [30, 20] }, "adapter", "has shape [5, 5], but [5, 4] follows"],
  ])("%s", async (_, more, shapes, code, message) => {
    await using folder = await TemporaryFolder.create();
    await using adapter = await openPeft(await write(folder, SPARSE, more));
    const base = baseFor();
    const other = new Map([...base.tensors, ...baseOf(shapes, {}).tensors]);
    const refusal = await refusalOf(async () => planRandlora(adapter, { ...base, tensors: other }));
    expect([refusal.code, refusal.message]).toEqual([code, expect.stringContaining(message)]);
    expect(refusal.hint).not.toBe("");
  });
});

test("PEFT folder → adapter.json → PEFT folder: bases are left out where they can be drawn, and come back bit for bit", async () => {
  await using folder = await TemporaryFolder.create();
  const [whole, json, back] = [folder.at("whole"), folder.at("a.json"), folder.at("back")];
  const from = await write(folder, DENSE);
  const done = await convert(from, { to: "peft", out: whole });
  expect(done).toMatchObject({ tensors: 8, generator: DENSE.generator, projections: true });
  expect(await convert(whole, { to: "json", out: json })).toMatchObject({ tensors: 6, projections: false });
  expect(await everything(json)).toEqual(await everything(from));
  await convert(json, { to: "peft", out: back });
  expect(await everything(back)).toEqual(await everything(whole));
  const refusal = await refusalOf(() => convert(whole, { to: "peft", out: folder.at("no"), projections: false }));
  expect([refusal.code, refusal.message]).toEqual(["adapter", expect.stringContaining("PEFT cannot draw its bases")]);
});
