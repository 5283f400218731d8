// gpt-oss whose experts are in MXFP4: kept so, and BF16 where an adapter changes them.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { GgufFile } from "../../../files/gguf/reader.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { refusalOf } from "../../../files/testing/folder.ts";
import { inspectCheckpoint } from "../../../measure/inspect/inspect-checkpoint.ts";
import { openCheckpoint } from "../../../models/folder/open-checkpoint.ts";
import { writePackedExperts } from "../../../models/testing/packed-experts.ts";
import { f32, writeFolder } from "../../testing/adapters.ts";
import { Notes, OPTIONS } from "../testing/merge.ts";
import { merge } from "../to-files/run.ts";
import { TEXT } from "./testing/models.ts";
import { valuesOf, Workplace } from "./testing/workplace.ts";

const EXPERTS = "model.layers.1.mlp.experts";
let place: Workplace;
let base: string;
beforeAll(async () => {
  place = await Workplace.open();
  base = place.folder.at("packed");
  const settings = { ...TEXT, sliding_window: 32 };
  await place.model("packed", "gpt_oss", 2, settings);
  await writePackedExperts(base, 2, settings);
});
afterAll(() => place[Symbol.asyncDispose]());

async function typesIn(path: string): Promise<(layer: number, name: string) => string | undefined> {
  await using file = await GgufFile.open(path);
  return (layer, name) => file.header.tensors.get(`blk.${layer}.ffn_${name}_exps.weight`)?.type;
}

test("experts stay in their blocks, gate and up apart", async () => {
  const path = await place.written(base, "packed.gguf", "keep");
  const typeOf = await typesIn(path);
  expect(["gate", "up", "down"].map((name) => typeOf(1, name))).toEqual(["MXFP4", "MXFP4", "MXFP4"]);
  expect(await place.logits(path)).toEqual(await place.logits(base));
  await using file = await openCheckpoint(path);
  await using own = await openCheckpoint(base);
  for (const name of ["gate_up_proj", "down_proj"].map((one) => `${EXPERTS}.3.${one}.weight`)) {
    const blocksIn = async (checkpoint: Checkpoint) => {
      const blocks = new Uint8Array(checkpoint.get(name).info.blocks?.bytes ?? 0);
      await checkpoint.readBlocks(name, blocks);
      return blocks;
    };
    const blocks = await blocksIn(file);
    expect(blocks.length).toBeGreaterThan(0);
    expect(blocks).toEqual(await blocksIn(own));
    expect(await valuesOf(file, name)).toEqual(await valuesOf(own, name));
  }
});

test("those that an adapter changes are BF16, as in a folder", async () => {
  const sines = (count: number) => Float32Array.from({ length: count }, (_, at) => Math.sin(at) / 8);
  const adapter = await writeFolder(
    place.folder.at("lora"),
    { peft_type: "LORA", r: 2, lora_alpha: 2, target_modules: [], target_parameters: [`${EXPERTS}.down_proj`] },
    {
      [`base_model.model.${EXPERTS}.lora_A.weight`]: f32([2 * 8, 64], sines(2 * 8 * 64)),
      [`base_model.model.${EXPERTS}.lora_B.weight`]: f32([32, 2 * 8], sines(32 * 2 * 8)),
    },
  );
  const file = await place.written(base, "changed.gguf", "keep", [adapter]);
  const typeOf = await typesIn(file);
  expect([typeOf(1, "down"), typeOf(0, "down"), typeOf(1, "up")]).toEqual(["BF16", "MXFP4", "MXFP4"]);
  const options = { ...OPTIONS, verify: false, base, adapters: [adapter], out: place.folder.at("changed") };
  const { out } = await merge(options, new Notes(), new AbortController().signal);
  await using merged = await openCheckpoint(file);
  await using wanted = await openCheckpoint(out);
  const name = `${EXPERTS}.3.down_proj.weight`;
  const own = await valuesOf(wanted, name);
  expect(await valuesOf(merged, name)).toEqual(own);
  await using before = await openCheckpoint(base);
  expect(own).not.toEqual(await valuesOf(before, name));
});

test("all experts of a layer are BF16 where an adapter changes one of them, those that it leaves with their numbers", async () => {
  const module = `${EXPERTS}.3.down_proj`;
  const adapter = await writeFolder(
    place.folder.at("one"),
    { peft_type: "LORA", r: 1, lora_alpha: 1, target_modules: [module] },
    {
      [`base_model.model.${module}.lora_A.weight`]: f32([1, 64], new Float32Array(64).fill(0.5)),
      [`base_model.model.${module}.lora_B.weight`]: f32([32, 1], new Float32Array(32).fill(0.5)),
    },
  );
  const file = await place.written(base, "one.gguf", "keep", [adapter]);
  expect((await typesIn(file))(1, "down")).toBe("BF16");
  await using merged = await openCheckpoint(file);
  await using before = await openCheckpoint(base);
  for (const expert of [2, 3]) {
    const name = `${EXPERTS}.${expert}.down_proj.weight`;
    const [found, own] = [await valuesOf(merged, name), await valuesOf(before, name)];
    expect(Bun.deepEquals(found, own)).toBe(expert === 2);
  }
  // A file's blocks stay what they are.
  const blocks = await place.written(base, "blocks.gguf", "keep");
  const refusal = await refusalOf(() => place.written(blocks, "x.gguf", "keep", [adapter]));
  expect(refusal.message).toStartWith('tensor "blk.1.ffn_down_exps.weight" is MXFP4, to which nothing is rounded');
});

test("a file's experts, which are read one by one, are one tensor in both counts of inspect", async () => {
  const { counts, shards } = await inspectCheckpoint(await place.written(base, "counted.gguf", "keep"));
  expect(shards.map(({ tensors }) => tensors)).toEqual([counts.tensors]);
});
