import { expect, test } from "bun:test";
import type { GgufValue } from "../../files/gguf/format.ts";
import { GgufFile } from "../../files/gguf/reader.ts";
import { GgufWriter } from "../../files/gguf/writer.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { readGgufConfig } from "./read-config.ts";

const SIZES = {
  block_count: 3,
  context_length: 256,
  embedding_length: 64,
  feed_forward_length: 96,
  "attention.head_count": 4,
  "attention.layer_norm_rms_epsilon": 0.5,
};

/** The config.json of a Granite with these heads of keys and values. */
async function granite(heads: GgufValue): Promise<Readonly<Record<string, unknown>>> {
  await using folder = await TemporaryFolder.create();
  const numbers = Object.entries(SIZES).map(([key, value]) => [`granite.${key}`, { kind: "f32", value }] as const);
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", { kind: "string", value: "granite" }],
    ...numbers,
    ["granite.attention.head_count_kv", heads],
  ]);
  const table = { name: "token_embd.weight", type: "F32", shape: [2, 64] } as const;
  await using writer = await GgufWriter.create(folder.at("it.gguf"), metadata, [table]);
  await writer.append(table.name, new Uint8Array(2 * 64 * 4));
  await writer.finish();
  await using file = await GgufFile.open(folder.at("it.gguf"));
  return await readGgufConfig(file);
}

test("heads of keys may be said of each layer, where all have as many: so is Granite 4 in llama.cpp's files", async () => {
  const wanted = { num_key_value_heads: 2, num_attention_heads: 4 };
  expect(await granite({ kind: "u32", value: 2 })).toMatchObject(wanted);
  expect(await granite({ kind: "array", of: "i32", value: [2, 2, 2] })).toMatchObject(wanted);
  for (const value of [[2, 2, 4], []]) {
    const refusal = await refusalOf(() => granite({ kind: "array", of: "i32", value }));
    expect(refusal).toMatchObject({ code: "format", message: expect.stringContaining("head_count_kv") });
  }
});
