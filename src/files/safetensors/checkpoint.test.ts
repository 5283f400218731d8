import { describe, expect, test } from "bun:test";
import { mkdir, rename, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Checkpoint } from "./checkpoint.ts";
import { parseIndex } from "./index-file.ts";
import { fileBytes } from "./testing/files.ts";
import { TemporaryFolder, refusalOf } from "../testing/folder.ts";

const INDEX = "model.safetensors.index.json";

/** A file of one-byte tensors, each holding the number given. */
function shard(values: Readonly<Record<string, number>>): Uint8Array {
  const entries = Object.keys(values).map((name, i) => [name, { dtype: "U8", shape: [1], data_offsets: [i, i + 1] }]);
  return fileBytes(Object.fromEntries(entries), Uint8Array.from(Object.values(values)));
}

const index = (map: Readonly<Record<string, unknown>>) =>
  JSON.stringify({ metadata: { total_size: 3 }, weight_map: map });

async function valueOf(checkpoint: Checkpoint, name: string): Promise<number> {
  const out = new Uint8Array(1);
  await checkpoint.read(name, out);
  return out[0] ?? -1;
}

/** A folder with two shards and their index. */
async function sharded(folder: TemporaryFolder): Promise<void> {
  await writeFile(folder.at("model-00001-of-00002.safetensors"), shard({ a: 1, b: 2 }));
  await writeFile(folder.at("model-00002-of-00002.safetensors"), shard({ c: 3 }));
  const [first, second] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  await writeFile(folder.at(INDEX), index({ c: second, b: first, a: first }));
}

describe("a checkpoint is found", () => {
  test("in a folder with one model.safetensors, beside an adapter and others", async () => {
    await using folder = await TemporaryFolder.create();
    await writeFile(folder.at("model.safetensors"), shard({ a: 1 }));
    await writeFile(folder.at("adapter_model.safetensors"), shard({ a: 9 }));
    await writeFile(folder.at("consolidated.safetensors"), shard({ a: 9 }));
    await using checkpoint = await Checkpoint.open(folder.path);
    expect(checkpoint.files.map(({ path }) => path)).toEqual([folder.at("model.safetensors")]);
    expect(checkpoint.folder).toBe(folder.path);
    expect(await valueOf(checkpoint, "a")).toBe(1);
  });

  test("in a folder whose only weights have another name", async () => {
    await using folder = await TemporaryFolder.create();
    await writeFile(folder.at("weights.safetensors"), shard({ a: 1 }));
    await writeFile(folder.at("adapter_model.safetensors"), shard({ a: 9 }));
    await writeFile(folder.at("pytorch_model.bin"), "");
    await using checkpoint = await Checkpoint.open(folder.path);
    expect(await valueOf(checkpoint, "a")).toBe(1);
  });

  test("by the path of one file, whatever lies beside it", async () => {
    await using folder = await TemporaryFolder.create();
    await sharded(folder);
    await using checkpoint = await Checkpoint.open(folder.at("model-00001-of-00002.safetensors"));
    expect([...checkpoint.tensors.keys()]).toEqual(["a", "b"]);
    expect(checkpoint.folder).toBe(folder.path);
    expect(checkpoint.indexPath).toBeUndefined();
  });

  test("by an index, in a folder or named itself; stale shards are ignored", async () => {
    await using folder = await TemporaryFolder.create();
    await sharded(folder);
    await writeFile(folder.at("model-00003-of-00003.safetensors"), shard({ a: 9, z: 9 }));
    await writeFile(folder.at("model.safetensors"), "not even a header");
    for (const path of [folder.path, folder.at(INDEX)]) {
      await using checkpoint = await Checkpoint.open(path);
      expect([...checkpoint.tensors.keys()]).toEqual(["a", "b", "c"]);
      expect(await Promise.all(["a", "b", "c"].map((name) => valueOf(checkpoint, name)))).toEqual([1, 2, 3]);
      expect(checkpoint.indexPath).toBe(folder.at(INDEX));
      expect(checkpoint.indexMetadata).toEqual({ total_size: 3 });
      expect(checkpoint.bytes).toBe(3);
      expect(checkpoint.paths).toEqual([
        folder.at(INDEX),
        folder.at("model-00001-of-00002.safetensors"),
        folder.at("model-00002-of-00002.safetensors"),
      ]);
    }
  });

  test("through symbolic links, as in the Hub's cache", async () => {
    await using folder = await TemporaryFolder.create();
    await sharded(folder);
    await mkdir(folder.at("blobs"));
    await mkdir(folder.at("snapshot"));
    for (const name of [INDEX, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]) {
      await rename(folder.at(name), folder.at("blobs", name.toUpperCase()));
      await symlink(join("..", "blobs", name.toUpperCase()), folder.at("snapshot", name));
    }
    await using checkpoint = await Checkpoint.open(folder.at("snapshot"));
    expect(await valueOf(checkpoint, "c")).toBe(3);
  });

  test("with shards of the same name in two folders, and a tensor the index forgot", async () => {
    await using folder = await TemporaryFolder.create();
    await mkdir(folder.at("x"));
    await mkdir(folder.at("y"));
    await writeFile(folder.at("x", "model.safetensors"), shard({ a: 1, more: 7 }));
    await writeFile(folder.at("y", "model.safetensors"), shard({ b: 2 }));
    await writeFile(folder.at(INDEX), index({ a: "x/model.safetensors", b: "y/model.safetensors" }));
    await using checkpoint = await Checkpoint.open(folder.path);
    expect([...checkpoint.tensors.keys()]).toEqual(["a", "more", "b"]);
    await writeFile(folder.at(INDEX), index({ a: "y/model.safetensors", b: "x/model.safetensors" }));
    expect((await refusalOf(() => Checkpoint.open(folder.path))).message).toMatch(/tensor "a" is not in y\/model/);
  });
});

const at = (begin: number) => ({ dtype: "U8", shape: [1], data_offsets: [begin, begin + 1] });

test("tensors are listed in the order of their bytes", async () => {
  await using folder = await TemporaryFolder.create();
  await writeFile(folder.at("model.safetensors"), fileBytes({ a: at(2), b: at(0), c: at(1) }, Uint8Array.of(5, 6, 7)));
  await using checkpoint = await Checkpoint.open(folder.path);
  expect([...checkpoint.tensors.keys()]).toEqual(["b", "c", "a"]);
  expect(await valueOf(checkpoint, "a")).toBe(7);
});

describe("a checkpoint is refused, the file and the cause named", () => {
  test("a shard that is missing", async () => {
    await using folder = await TemporaryFolder.create();
    await sharded(folder);
    await rename(folder.at("model-00002-of-00002.safetensors"), folder.at("elsewhere"));
    const refusal = await refusalOf(() => Checkpoint.open(folder.path));
    expect(refusal.code).toBe("file");
    expect(refusal.message).toMatch(/index\.json: shard "model-00002-of-00002.safetensors" is missing/);
  });

  test("a shard that is cut", async () => {
    await using folder = await TemporaryFolder.create();
    await sharded(folder);
    await writeFile(folder.at("model-00002-of-00002.safetensors"), shard({ c: 3 }).subarray(0, -1));
    expect((await refusalOf(() => Checkpoint.open(folder.path))).message).toMatch(
      /model-00002-of-00002.safetensors: .*"c"/,
    );
  });

  test("a tensor that its shard lacks, or that another holds", async () => {
    await using folder = await TemporaryFolder.create();
    await sharded(folder);
    const [first, second] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    for (const map of [
      { a: first, b: first, c: second, d: second },
      { a: first, b: second, c: second },
    ]) {
      await writeFile(folder.at(INDEX), index(map));
      const refusal = await refusalOf(() => Checkpoint.open(folder.path));
      expect(refusal.code).toBe("format");
      expect(refusal.message).toMatch(/index\.json: tensor "[bd]" is not in model-00002-of-00002/);
    }
  });

  test("a tensor in two listed shards", async () => {
    await using folder = await TemporaryFolder.create();
    await sharded(folder);
    await writeFile(folder.at("model-00002-of-00002.safetensors"), shard({ c: 3, a: 4 }));
    const { message } = await refusalOf(() => Checkpoint.open(folder.path));
    expect(message).toMatch(/00002-of-00002.safetensors: tensor "a" is also in model-00001-of-00002.safetensors/);
  });

  test("a folder without weights, or with weights that are not safetensors", async () => {
    const cases: [files: string[], message: RegExp, hint: RegExp][] = [
      [[], /no \.safetensors weights$/, /model folder/],
      [["adapter_model.safetensors"], /no \.safetensors weights$/, /model folder/],
      [["pytorch_model.bin"], /pytorch_model\.bin holds pickled weights/, /safe_serialization/],
      [["pytorch_model.bin.index.json"], /holds pickled weights/, /safe_serialization/],
      [["model.Q4_0.gguf", "config.json"], /model.Q4_0.gguf is GGUF/, /name the file itself/],
      [["b.safetensors", "a.safetensors"], /2 \.safetensors files, but neither/, /name one/],
    ];
    for (const [files, message, hint] of cases) {
      await using folder = await TemporaryFolder.create();
      for (const file of files) await writeFile(folder.at(file), "");
      const refusal = await refusalOf(() => Checkpoint.open(folder.path));
      expect(refusal.message).toStartWith(`${folder.path}: `);
      expect([refusal.code, refusal.message]).toEqual(["format", expect.stringMatching(message)]);
      expect(refusal.hint).toMatch(hint);
    }
  });

  test("a path that is nothing, or a file in another format", async () => {
    await using folder = await TemporaryFolder.create();
    for (const name of ["pytorch_model.bin", "x.gguf", "x.safetensors"])
      await writeFile(folder.at(name), "hello hello");
    expect((await refusalOf(() => Checkpoint.open(folder.at("none")))).message).toMatch(/none: no such file/);
    expect((await refusalOf(() => Checkpoint.open(folder.at("pytorch_model.bin")))).message).toMatch(/pickled/);
    expect((await refusalOf(() => Checkpoint.open(folder.at("x.gguf")))).message).toMatch(/GGUF/);
    expect((await refusalOf(() => Checkpoint.open(folder.at("x.safetensors")))).message).toMatch(/header of/);
  });
});

const parse = (text: string) => parseIndex(new TextEncoder().encode(text), "i.json");

describe("an index is refused", () => {
  test("when a path leaves the folder, in any spelling", async () => {
    for (const file of [
      "../x",
      "a/../../x",
      "/etc/passwd",
      "..",
      ".",
      "",
      "a//b",
      "./x",
      "C:\\x",
      "C:x",
      "..\\x",
      "a\0b",
    ]) {
      const refusal = await refusalOf(() => parse(index({ w: file })));
      expect([refusal.code, refusal.message]).toEqual(["format", expect.stringContaining('i.json: tensor "w": ')]);
      expect(refusal.message).toEndWith("leaves the folder");
    }
    expect(parse(index({ w: "a/b..c.safetensors" })).shardOf.get("w")).toBe("a/b..c.safetensors");
  });

  test("when it is not what an index is", async () => {
    const cases: [text: string, message: RegExp][] = [
      ["", /not JSON/],
      ["[]", /not a JSON object/],
      ["{}", /no weight_map/],
      ['{"weight_map":["a"]}', /no weight_map/],
      ['{"weight_map":{}}', /its weight_map is empty: it names no weights/],
      ['{"weight_map":{"a":1}}', /tensor "a": its file is not a string/],
      ['{"weight_map":{"a":"x","a":"y"}}', /"weight_map" \/ "a" occurs twice/],
    ];
    for (const [text, message] of cases) expect((await refusalOf(() => parse(text))).message).toMatch(message);
    expect((await refusalOf(() => parse('{"model_type":"llama"}'))).hint).toContain("name the model's folder");
    expect((await refusalOf(() => parseIndex(Uint8Array.of(0x7b, 0xff), "i.json"))).message).toMatch(/not UTF-8/);
    const config = await refusalOf(() => parseIndex(new TextEncoder().encode("{}"), "config.json"));
    expect(config.message).toEndWith("config.json: no weight_map: this is no index of weights");
  });

  test("but not for being long, or for a byte order mark", () => {
    const map = Object.fromEntries(
      Array.from({ length: 100_000 }, (_, i) => [`model.layers.${i}.${"x".repeat(90)}`, "s"]),
    );
    expect(parse(`\ufeff${index(map)}`).shardOf.size).toBe(100_000);
  });
});
