// Adapters of experts in batches: each row has the bits that it has alone, and the logits of the merged model.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { itemAt } from "../../../files/item-at.ts";
import { refusalOf, TemporaryFolder } from "../../../files/testing/folder.ts";
import type { AdapterLinears } from "../../../models/blocks/linears.ts";
import { BASE_ROWS } from "../../../models/blocks/row-linears.ts";
import { Batch } from "../../../models/decoder/cache/batch.ts";
import type { Decoder, LoadOptions } from "../../../models/decoder/decoder.ts";
import { loadDecoder } from "../../../models/folder/load-decoder.ts";
import { writeArchitecture } from "../../../models/testing/architectures.ts";
import { mixturesOf, readBeside } from "../../../models/testing/mixed.ts";
import { writePackedExperts } from "../../../models/testing/packed-experts.ts";
import { openBase } from "../../base/named-base.ts";
import { findTargets } from "../../base/target-modules.ts";
import { writeLora } from "../../testing/lora.ts";
import { writeDora } from "../../testing/magnitudes.ts";
import { writeNola } from "../../testing/nola.ts";
import { writePranc } from "../../testing/pranc.ts";
import { writeVera } from "../../testing/vera.ts";
import { SharedParts } from "../../method/training.ts";
import { writeHybrid } from "../testing/hybrid.ts";
import { writeAdapter } from "../testing/models.ts";
import { checkUnmerged, placeUnmerged } from "./beside.ts";
import { AdaptedWeights } from "./weights.ts";

let gpu: Device;
let folder: TemporaryFolder;
beforeAll(async () => {
  gpu = await openTestDevice();
  folder = await TemporaryFolder.create();
  const sizes = { vocab_size: 64 };
  await writeArchitecture(folder.at("mixtral"), "mixtral", 2, { ...sizes, num_local_experts: 5 });
  await writeArchitecture(folder.at("qwen"), "qwen3_moe", 2, { ...sizes, num_experts: 8, num_experts_per_tok: 4 });
  await writeArchitecture(folder.at("delta"), "qwen3_next", 2, { ...sizes, num_experts_per_tok: 4 });
  await writePackedExperts(folder.at("gpt-oss"), 2, { ...sizes, num_experts_per_tok: 4 });
}, 60_000);
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

/** One of each method on these modules, and two over the same bases, the second of attention alone or, for Qwen, a hybrid. */
async function adaptersOf(name: string, targets: string[]) {
  const modulesOf = async (some: string[]) => {
    await using opened = await openBase(folder.at(name));
    const { modules } = findTargets(opened.base, { targets: some, layers: [] });
    return Object.fromEntries(modules.map((one) => [one.name, [one.out, one.in] as const]));
  };
  const [modules, attention] = [await modulesOf(targets), await modulesOf(["q_proj"])];
  const at = (kind: string) => folder.at(`${name}-${kind}`);
  const randlora = { r: 3, alpha: 40, seed: 3, size: 0.1, modules };
  const some = { r: 3, alpha: 3, seed: 2, modules };
  return [
    await writeLora(at("lora"), some),
    await writeAdapter(at("randlora"), randlora),
    undefined,
    await writeDora(at("dora"), some),
    await writeNola(at("nola"), { ...some, key: 5n, initSeed: 1, bases: 12 }),
    await writeVera(at("vera"), { r: 16, modules }),
    await writeAdapter(at("twin"), { ...randlora, seed: 9 }),
    name === "qwen"
      ? await writeHybrid(at("hybrid"), { ...randlora, size: 0.2 }, some)
      : await writeAdapter(at("attention"), { ...randlora, modules: attention }),
  ];
}

const tokensOf = (at: number) => Array.from({ length: 5 + 3 * at }, (_, i) => (37 * i + 11 * at) % 64);

/** Logits behind each text, whose last two tokens are decoded together with those of others. */
async function logitsOf(decoder: Decoder, texts: readonly { at: number; adapter: AdapterLinears | undefined }[]) {
  using batch = new Batch(decoder, { rows: 8, positions: 8 * 256 });
  const begun = texts.map(({ at, adapter }) => ({ slot: batch.pool.acquire(adapter), ids: tokensOf(at) }));
  for (const { slot, ids } of begun) await batch.pass([], { slot, ids: ids.slice(0, -2), sequenceLength: ids.length });
  const found: Float32Array[][] = begun.map(() => []);
  for (const back of [2, 1]) {
    const wanted = { top: 1, all: true, lse: false };
    const tokens = begun.map(({ slot, ids }) => ({ slot, id: ids.at(-back) ?? 0, ...wanted }));
    for (const [at, { all }] of (await batch.pass(tokens)).next.entries()) found[at]?.push(all ?? new Float32Array());
  }
  return found;
}

test.each<[string, string[], LoadOptions]>([
  ["mixtral", ["w3", "w2"], { quantize: "Q8_0" }],
  ["qwen", ["up_proj", "down_proj"], {}],
  ["delta", ["q_proj", "up_proj", "down_proj"], {}],
  ["gpt-oss", ["q_proj", "gate_up_proj", "down_proj"], {}],
])(
  "%s, %p, %p",
  async (name, targets, options) => {
    const path = folder.at(name);
    const paths = await adaptersOf(name, targets);
    using decoder = await loadDecoder(gpu, path, options);
    using owner = new DisposableStack();
    const shared = new SharedParts(gpu);
    const texts: { at: number; adapter: AdapterLinears }[] = [];
    for (const [at, adapter] of paths.entries()) {
      const choices = [{ path: adapter ?? "", scale: 1 }];
      const place = async () => placeUnmerged(decoder, path, choices, { forRows: true, shared });
      texts.push({ at, adapter: adapter === undefined ? BASE_ROWS : owner.use(await place()).over });
    }
    const together = await logitsOf(decoder, texts);
    expect((await logitsOf(decoder, texts.toReversed())).toReversed()).toEqual(together);
    for (const text of texts) expect(await logitsOf(decoder, [text])).toEqual([itemAt(together, text.at)]);
    // Pieces of a prompt beside them.
    const written = [1, 6, 2, 3].map((at) => ({ ...itemAt(texts, at), ids: tokensOf(at) }));
    for (const at of [1, 3]) {
      const found: unknown[] = [];
      for (const mixture of mixturesOf(gpu)) {
        using batch = new Batch(decoder, { rows: 8, positions: 8 * 256 });
        found.push(await readBeside(batch, written, { ...itemAt(texts, at), ids: tokensOf(20) }, [12, 1, 30], mixture));
      }
      for (const one of found) expect(one).toEqual(found[0]);
    }
    if (options.quantize !== undefined) return;
    using numbers = await loadDecoder(gpu, path, { dtype: "F32" });
    await using adapted = await AdaptedWeights.open(numbers, path);
    for (const [at, adapter] of paths.entries()) {
      await adapted.apply(adapter === undefined ? [] : [{ path: adapter, scale: 1 }], { dtype: "f32" });
      const [merged = []] = await logitsOf(numbers, [{ at, adapter: undefined }]);
      for (const [step, logits] of itemAt(together, at).entries()) {
        const wanted = itemAt(merged, step);
        const largest = Math.max(...wanted.map(Math.abs));
        wanted.forEach((value, id) => expect(Math.abs(value - itemAt(logits, id))).toBeLessThan(1e-4 * largest));
      }
    }
  },
  60_000,
);

test("an adapter without factors stands beside weights, but not as one of several", async () => {
  const modules = {
    "model.layers.1.mlp.experts.3.down_proj": [32, 64],
    "model.layers.0.self_attn.q_proj": [32, 32],
  } as const;
  const path = await writePranc(folder.at("pranc"), { seed: 3n, alpha: 1, coefficients: [5, 2.5], modules });
  const [base, choices] = [folder.at("gpt-oss"), [{ path, scale: 0.5 }]];
  using decoder = await loadDecoder(gpu, base);
  expect(await refusalOf(() => checkUnmerged(decoder, base, choices, { forRows: true }))).toMatchObject({
    code: "adapter",
    message: expect.stringContaining("PRANC's ΔW has no factors"),
  });
  using placed = await placeUnmerged(decoder, base, choices);
  expect(placed.notes).toEqual(["PRANC's ΔW has no factors: it is held in f32 beside the weights, 12.3 kB"]);
  decoder.linears = placed.linears;
  const [found = []] = await logitsOf(decoder, [{ at: 9, adapter: undefined }]);
  using numbers = await loadDecoder(gpu, base, { dtype: "F32" });
  const [plain = []] = await logitsOf(numbers, [{ at: 9, adapter: undefined }]);
  await using adapted = await AdaptedWeights.open(numbers, base);
  await adapted.apply(choices, { dtype: "f32" });
  const [merged = []] = await logitsOf(numbers, [{ at: 9, adapter: undefined }]);
  const apart = (one: Float32Array, other: Float32Array) =>
    Math.max(...one.map((value, at) => Math.abs(value - itemAt(other, at))));
  expect(apart(itemAt(merged, 1), itemAt(plain, 1))).toBeGreaterThan(1e-3);
  expect(apart(itemAt(merged, 1), itemAt(found, 1))).toBeLessThan(1e-5);
});
