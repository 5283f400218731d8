import { describe, expect, test } from "bun:test";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { writeLora } from "../src/adapters/testing/lora.ts";
import { parameters, writeFolder } from "../src/adapters/testing/adapters.ts";
import { GgufFile } from "../src/files/gguf/reader.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { contents, killWriting } from "./testing/merge.ts";
import { randlora } from "./testing/program.ts";

// GGUF files of the model inside the program: a small Llama with tied embeddings, in bf16.

const MODEL = join(import.meta.dir, "../fixtures/embedded/model");
const Q = "model.layers.1.self_attn.q_proj";
const UP = "model.layers.0.mlp.up_proj";
const LORA = { r: 4, alpha: 8, seed: 3, modules: { [Q]: [128, 128], [UP]: [344, 128] } } as const;

/** Runs the program in a folder. */
async function run(cwd: string, ...args: readonly string[]) {
  return await randlora(args, { cwd });
}

/** A folder with `model`, and `lora`, which fits it. */
async function modelAndLora(config: Parameters<typeof writeLora>[2] = {}): Promise<TemporaryFolder> {
  const folder = await TemporaryFolder.create();
  await cp(MODEL, folder.at("model"), { recursive: true });
  await writeLora(folder.at("lora"), LORA, config);
  return folder;
}

async function read(path: string): Promise<{ file: GgufFile; bytesOf: (name: string) => Promise<Uint8Array> }> {
  const file = await GgufFile.open(path);
  const bytesOf = async (name: string): Promise<Uint8Array> => {
    const tensor = file.header.tensors.get(name);
    if (tensor === undefined) throw new Error(name);
    const out = new Uint8Array(tensor.bytes);
    await file.read(tensor, out);
    return out;
  };
  return { file, bytesOf };
}

describe("a model", () => {
  test("becomes one file with its tokenizer, vectors in F32, matrices as asked", async () => {
    await using folder = await modelAndLora();
    const { status, stdout, stderr } = await run(
      folder.path,
      "convert",
      "model",
      "--to",
      "gguf",
      "--out",
      "x.gguf",
      "--json",
    );
    expect({ status, stderr, result: JSON.parse(stdout) }).toEqual({
      status: 0,
      stderr: "",
      result: { out: folder.at("x.gguf"), to: "gguf", tensors: 38 },
    });
    const { file } = await read(folder.at("x.gguf"));
    await using _ = file;
    const value = (key: string) => file.header.metadata.get(key)?.value;
    expect(value("general.architecture")).toBe("llama");
    expect(value("general.name")).toBe("x");
    expect(value("general.file_type")).toBe(32);
    expect(value("tokenizer.ggml.pre")).toBe("gpt-2");
    expect(file.header.tensors.get("blk.0.attn_norm.weight")?.type).toBe("F32");
    expect(file.header.tensors.get("token_embd.weight")).toMatchObject({ type: "BF16", shape: [1002, 128] });
    expect(file.header.tensors.has("output.weight")).toBe(false);
  });

  test("in blocks: where rows are no whole ones, F16", async () => {
    await using folder = await modelAndLora();
    for (const type of ["q8_0", "q4_0"]) {
      await run(folder.path, "convert", "model", "--to", "gguf", "--out", `${type}.gguf`, "--outtype", type);
      const { file } = await read(folder.at(`${type}.gguf`));
      await using _ = file;
      const types = (name: string) => file.header.tensors.get(name)?.type;
      expect(types("blk.0.attn_q.weight")).toBe(type === "q8_0" ? "Q8_0" : "Q4_0");
      expect(types("blk.0.ffn_down.weight")).toBe("F16"); // 344 columns
      expect(types("output_norm.weight")).toBe("F32");
    }
  });

  test("merged with an adapter is what its merged folder becomes", async () => {
    await using folder = await modelAndLora();
    const merged = ["merge", "model", "lora", "--device", "cpu", "--out"];
    for (const outtype of ["f32", "q8_0"]) {
      const asked = ["--outtype", outtype, "--verify"];
      const { status, stdout } = await run(folder.path, ...merged, `${outtype}.gguf`, ...asked);
      expect([status, stdout]).toEqual([0, expect.stringMatching(/verified +a sample in f64: at most [\d.]+ units/)]);
      expect((await run(folder.path, ...merged, "folder", "--dtype", "f32", "--force")).status).toBe(0);
      const out = ["--out", `of-folder/${outtype}.gguf`, "--outtype", outtype];
      expect((await run(folder.path, "convert", "folder", "--to", "gguf", ...out)).status).toBe(0);
      const bytes = await Bun.file(folder.at(`${outtype}.gguf`)).bytes();
      expect(bytes).toEqual(await Bun.file(folder.at(`of-folder/${outtype}.gguf`)).bytes());
    }
  });

  test("wishes that contradict each other are usage errors, and nothing is written", async () => {
    await using folder = await modelAndLora();
    const before = await contents(folder.path);
    const merge = ["merge", "model", "lora", "--out"];
    for (const [args, message] of [
      [[...merge, "x.gguf", "--outtype", "f16", "--dtype", "f32"], "say the same"],
      [[...merge, "x", "--outtype", "f16"], "--outtype and --pre are of GGUF files"],
      [["convert", "model", "--to", "gguf", "--out", "x.gguf", "--base", "model"], "--base is for an adapter"],
      [["convert", "lora", "--to", "gguf", "--out", "x.gguf", "--pre", "gpt-2"], "--pre is for a model"],
    ] as const) {
      const { status, stderr } = await run(folder.path, ...args);
      expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining(message) });
    }
    expect(await contents(folder.path)).toEqual(before);
  });
});

describe("a LoRA", () => {
  test("becomes llama.cpp's adapter file; rows of B follow those of q", async () => {
    await using folder = await modelAndLora();
    const convert = ["convert", "lora", "--to", "gguf", "--out", "lora.gguf", "--base", "model"];
    expect(await run(folder.path, ...convert)).toMatchObject({ status: 0, stderr: "" });
    const { file, bytesOf } = await read(folder.at("lora.gguf"));
    await using _ = file;
    const value = (key: string) => file.header.metadata.get(key)?.value;
    expect([value("general.type"), value("adapter.type"), value("adapter.lora.alpha")]).toEqual(["adapter", "lora", 8]);
    expect([...file.header.tensors.keys()].toSorted()).toEqual([
      "blk.0.ffn_up.weight.lora_a",
      "blk.0.ffn_up.weight.lora_b",
      "blk.1.attn_q.weight.lora_a",
      "blk.1.attn_q.weight.lora_b",
    ]);
    // Row 1 of the file's head is row 16 of the adapter's: heads have 32 rows, the second half follows the first pairwise.
    const { factorsOf } = await import("../src/adapters/testing/lora.ts");
    const { b } = factorsOf(LORA, Q);
    const rows = new Float32Array((await bytesOf("blk.1.attn_q.weight.lora_b")).buffer);
    expect([...rows.subarray(4, 8)]).toEqual([...b.subarray(16 * 4, 17 * 4)]);
    expect([...rows.subarray(33 * 4, 34 * 4)]).toEqual([...b.subarray(48 * 4, 49 * 4)]);
  });

  test("has one α: factors of another scale are multiplied, rsLoRA's is α·√r", async () => {
    await using folder = await modelAndLora({ config: { use_rslora: true, alpha_pattern: { up_proj: 24 } } });
    const convert = ["convert", "lora", "--to", "gguf", "--out", "lora.gguf", "--base", "model"];
    expect((await run(folder.path, ...convert)).status).toBe(0);
    const { file, bytesOf } = await read(folder.at("lora.gguf"));
    await using _ = file;
    expect(file.header.metadata.get("adapter.lora.alpha")?.value).toBe(16);
    const { factorsOf } = await import("../src/adapters/testing/lora.ts");
    const rows = new Float32Array((await bytesOf("blk.0.ffn_up.weight.lora_b")).buffer);
    const { b } = factorsOf(LORA, UP);
    expect([...rows.subarray(0, 4)]).toEqual([...b.subarray(0, 4)].map((x) => Math.fround(x * 3)));
  });

  test("whose base is nowhere, and an adapter of another method, are refused with the way out", async () => {
    await using folder = await modelAndLora();
    await writeFolder(folder.at("randlora"), { peft_type: "RANDLORA", r: 4 }, parameters(4, { q: 8 }));
    const peft = { peft_type: "LORA", r: 4, target_modules: [], target_parameters: ["mlp.experts.down_proj"] };
    await writeFolder(folder.at("experts"), peft, {});
    for (const [name, message, hint] of [
      ["lora", "the base model that it names is not on this machine", "--base MODEL"],
      [
        "randlora",
        "GGUF has adapters of LoRA alone, not of randlora",
        "--to lora --rank 16 --out x-lora, then randlora",
      ],
      ["experts", "its target_parameters have no place in a GGUF adapter", "randlora merge"],
    ] as const) {
      const { status, stderr } = await run(folder.path, "convert", name, "--to", "gguf", "--out", "x.gguf");
      expect(status).toBe(3);
      expect(stderr).toContain(message);
      expect(stderr).toContain(hint);
    }
  });
});

describe("a file appears whole or not at all", () => {
  test("one that is there is not replaced without --force", async () => {
    await using folder = await modelAndLora();
    await Bun.write(folder.at("x.gguf"), "mine");
    const convert = ["convert", "model", "--to", "gguf", "--out", "x.gguf"];
    expect((await run(folder.path, ...convert)).stderr).toContain("it exists already");
    expect(await Bun.file(folder.at("x.gguf")).text()).toBe("mine");
    expect((await run(folder.path, ...convert, "--force")).status).toBe(0);
    expect(await Bun.file(folder.at("x.gguf")).text()).toStartWith("GGUF");
  });

  test("kill -9 at any moment leaves nothing under its name, or all of it", async () => {
    await using folder = await modelAndLora();
    const args = ["merge", "model", "lora", "--out", "x.gguf"];
    expect((await run(folder.path, ...args)).status).toBe(0);
    const file = Bun.file(folder.at("x.gguf"));
    const complete = await file.bytes();
    let kills = 0;
    for (let attempt = 0; kills < 3 && attempt < 20; attempt++) {
      await file.delete();
      if (await killWriting(folder, args, attempt)) kills++;
      if (await Bun.file(folder.at("x.gguf")).exists())
        expect(await Bun.file(folder.at("x.gguf")).bytes()).toEqual(complete);
      else await Bun.write(folder.at("x.gguf"), "");
    }
    expect(kills).toBe(3);
    expect((await run(folder.path, ...args, "--force")).status).toBe(0);
    expect(Object.keys(await contents(folder.path)).filter((name) => name.includes(".part"))).toEqual([]);
  });
});
