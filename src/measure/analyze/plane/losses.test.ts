import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import { join } from "node:path";
import { STORIES } from "../../../../fixtures/stories/storyteller.ts";
import { safetensorsBytes } from "../../../adapters/testing/adapters.ts";
import type { Device } from "../../../compute/device/device.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import {
  deltaOf,
  readModel,
  rounded,
  type TestAdapter,
  weights,
  widened,
  writeAdapter,
  writeModel,
} from "../../../adapters/merge/testing/models.ts";
import { loadDecoder } from "../../../models/folder/load-decoder.ts";
import { LossPlane } from "./losses.ts";
import { needsAllInF32, planVariants } from "../plan-variants.ts";
import { placesOf, type Shares, sharesAt } from "./plane.ts";
import { storySamples } from "../../testing/story-samples.ts";
import { Variants } from "../variants.ts";

const DATA = storySamples([5, 20, 9]);
const LOCATION = { folder: STORIES, weights: undefined };
const layer = (index: number, name: string) => `model.layers.${index}.${name}`;
const ADAPTERS: Record<"a" | "c", TestAdapter> = {
  a: { r: 4, alpha: 32, seed: 1, size: 0.1, modules: { [layer(0, "self_attn.q_proj")]: [64, 64], lm_head: [512, 64] } },
  c: { r: 4, alpha: 32, seed: 2, size: 0.1, modules: { [layer(2, "mlp.down_proj")]: [64, 172] } },
};

let folder: TemporaryFolder;
let gpu: Device;
/** By corner: a path, and the weights in f64. */
let corners: { readonly path: string; readonly weights: Readonly<Record<string, Float64Array>> }[];
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  gpu = await openTestDevice();
  const base = await readModel(STORIES);
  const wide = Object.fromEntries(Object.entries(base).map(([name, tensor]) => [name, widened(tensor)]));
  const adapted = async (name: "a" | "c") => {
    const adapter = ADAPTERS[name];
    const summed = { ...wide };
    for (const module of Object.keys(adapter.modules)) {
      const delta = deltaOf(adapter, module, "f32");
      const of = wide[`${module}.weight`] ?? wide["model.embed_tokens.weight"];
      summed[`${module}.weight`] = (of ?? new Float64Array()).map((value, i) => value + (delta[i] ?? NaN));
    }
    return { path: await writeAdapter(folder.at(name), adapter), weights: summed };
  };
  const full: Record<string, Float64Array> = {};
  for (const [at, [name, values]] of Object.entries(wide).entries()) {
    const noise = widened(weights("F32", [values.length], at + 1, 0.02));
    full[name] = values.map((value, i) => Math.fround(value + (noise[i] ?? NaN)));
  }
  const path = await write("full", full);
  corners = [await adapted("a"), { path, weights: full }, await adapted("c")];
}, 120_000);
afterAll(async () => {
  gpu.close();
  await folder[Symbol.asyncDispose]();
});

/** A model folder with these weights, rounded to f32; one with an output matrix of its own says so. */
async function write(name: string, values: Readonly<Record<string, Float64Array>>): Promise<string> {
  const base = await readModel(STORIES);
  const tensors = Object.fromEntries(
    Object.entries(values).map(([tensor, data]) => {
      const { shape = [] } = base[tensor] ?? base["model.embed_tokens.weight"] ?? {};
      return [tensor, { dtype: "F32" as const, shape, data: rounded(data, "F32") }];
    }),
  );
  const config = await Bun.file(join(STORIES, "config.json")).json();
  const tied = !("lm_head.weight" in values);
  return await writeModel(folder.at(name), { tensors, config: { ...config, tie_word_embeddings: tied } });
}

/** The mean loss of a model folder, sample by sample. */
async function lossOf(model: string): Promise<number> {
  using decoder = await loadDecoder(gpu, model);
  let [sum, count] = [0, 0];
  for (let i = 0; i < DATA.length; i++) {
    using cache = decoder.createCache();
    const found = await decoder.nll(cache, [...DATA.sample(i).ids]);
    sum += found.reduce((total, value) => total + value, 0);
    count += found.length;
  }
  return sum / count;
}

test("shares add up to one, and are one at their corner", () => {
  expect([sharesAt(0, 0), sharesAt(0.5, 1), sharesAt(1, 0)]).toEqual([
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ]);
  expect(sharesAt(-1, 2)).toEqual([1, 2, -2]);
  expect(placesOf([-1, 1.5], 25).slice(0, 2)).toEqual([-1, -0.9]);
  expect(placesOf([-1, 1.5], 25)).toHaveLength(25);
  expect(placesOf([-1, 1.5], 25).at(-1)).toBeCloseTo(1.4, 12);
});

describe("a plane through two adapters, one of which unties the head, and a whole model", () => {
  const POINTS: readonly Shares[] = [[1, 0, 0], [0, 1, 0], [0, 0, 1], sharesAt(0.7, 0.4), sharesAt(-0.4, 0.9)];

  test("has the losses of models whose weights were mixed in f64", async () => {
    const plan = await planVariants(
      LOCATION,
      corners.map(({ path }) => path),
      undefined,
    );
    expect(plan.variants.map(({ kind }) => kind)).toEqual(["adapter", "model", "adapter"]);
    await using model = await Variants.load(gpu, plan, { allInF32: needsAllInF32(plan) });
    const [a, b, c] = plan.variants;
    if (a === undefined || b === undefined || c === undefined) throw new RangeError();
    using plane = await LossPlane.load(model, plan, [a, b, c], DATA);
    const found: number[] = [];
    for (const shares of POINTS) found.push(await plane.loss(shares));
    for (const [at, shares] of POINTS.entries()) {
      const mixed: Record<string, Float64Array> = {};
      for (const name of new Set(corners.flatMap(({ weights: all }) => Object.keys(all)))) {
        const parts = corners.map(
          ({ weights: all }) => all[name] ?? all["model.embed_tokens.weight"] ?? new Float64Array(),
        );
        mixed[name] = (parts[0] ?? new Float64Array()).map((_, i) =>
          parts.reduce((sum, part, corner) => sum + (shares[corner] ?? NaN) * (part[i] ?? NaN), 0),
        );
      }
      const wanted = await lossOf(await write(`mixed-${at}`, mixed));
      expect(Math.abs((found[at] ?? NaN) - wanted)).toBeLessThan(2e-5 * wanted);
    }
    expect(new Set(found).size).toBe(POINTS.length);
    // A point does not depend on those before it.
    expect(await plane.loss([1, 0, 0])).toBe(found[0] ?? NaN);
  }, 120_000);

  test("leaves nothing on the device", async () => {
    const before = gpu.memory.liveBytes;
    const plan = await planVariants(LOCATION, [corners[0]?.path ?? "", corners[2]?.path ?? ""], undefined);
    {
      await using model = await Variants.load(gpu, plan, { allInF32: true });
      const [a, c] = plan.variants;
      if (a === undefined || c === undefined) throw new RangeError();
      using plane = await LossPlane.load(model, plan, [a, c, a], DATA);
      expect(await plane.loss([0.5, 0.5, 0])).toBeGreaterThan(0);
    }
    expect(gpu.memory.liveBytes).toBe(before);
  });
});

describe("what does not fit is refused before a device is opened", () => {
  test("a model of another shape", async () => {
    const config = await Bun.file(join(STORIES, "config.json")).json();
    const other = await writeModel(folder.at("other"), {
      tensors: await readModel(STORIES),
      config: { ...config, rope_theta: 5 },
    });
    await expect(planVariants(LOCATION, [other], undefined)).rejects.toMatchObject({ code: "model" });
  });

  test("an adapter for other weights", async () => {
    const modules = { [layer(0, "self_attn.q_proj")]: [60, 64] } as const;
    const foreign = await writeAdapter(folder.at("foreign"), { r: 4, alpha: 4, seed: 1, modules });
    await expect(planVariants(LOCATION, [foreign], undefined)).rejects.toMatchObject({ code: "adapter" });
  });

  test("what is neither", async () => {
    const file = folder.at("lone", "x.safetensors");
    await Bun.write(file, safetensorsBytes({}));
    await expect(planVariants(LOCATION, [folder.at("nowhere")], undefined)).rejects.toMatchObject({ code: "file" });
    await expect(planVariants(LOCATION, [file], undefined)).rejects.toMatchObject({ code: expect.any(String) });
  });
});
