import { describe, expect, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { parseConfig, readConfig, updateConfig } from "./config-json.ts";
import { TemporaryFolder, refusalOf } from "../../files/testing/folder.ts";

const TEXT = `{"model_type":"llama",  "torch_dtype": "float32", "tie_word_embeddings": true, "rope_theta": 1e6, "big": 12345678901234567890}`;

describe("config.json after a merge", () => {
  test("is the very same text where nothing changes", () => {
    expect(updateConfig(TEXT, { dtype: "keep", untied: false })).toBe(TEXT);
  });

  test("names the new dtype under the key it had, and keeps every digit and the order of the keys", () => {
    const text = updateConfig(TEXT, { dtype: "bf16", untied: false });
    expect(text).toContain('"torch_dtype": "bfloat16"');
    expect(text).toContain("12345678901234567890");
    expect(text).toContain("1e6");
    expect(text).toEndWith("}\n");
    expect(Object.keys(JSON.parse(text))).toEqual(Object.keys(JSON.parse(TEXT)));
  });

  test.each([
    [{}, { dtype: "float16" }],
    [{ dtype: "float32" }, { dtype: "float16" }],
    [
      { dtype: "float32", torch_dtype: "float32" },
      { dtype: "float16", torch_dtype: "float16" },
    ],
  ])("%j becomes %j with --dtype f16", (before, after) => {
    expect(JSON.parse(updateConfig(JSON.stringify(before), { dtype: "f16", untied: false }))).toEqual(after);
  });

  test("says that embeddings are no longer tied", () => {
    const config = JSON.parse(updateConfig(TEXT, { dtype: "keep", untied: true }));
    expect(config).toMatchObject({ tie_word_embeddings: false, torch_dtype: "float32" });
    expect(JSON.parse(updateConfig("{}", { dtype: "keep", untied: true }))).toEqual({ tie_word_embeddings: false });
  });
});

test.each(["", "[1]", "null", "{", '"x"'])("%j is no config.json", async (text) => {
  const refusal = await refusalOf(() => parseConfig(text, "x/config.json"));
  expect([refusal.code, refusal.message]).toEqual(["format", expect.stringMatching(/^x\/config\.json: not /)]);
});

test("a byte order mark is no part of it, and other encodings than UTF-8 are refused", async () => {
  await using folder = await TemporaryFolder.create();
  await writeFile(folder.at("config.json"), `\ufeff${TEXT}`);
  expect((await readConfig(folder.path))?.text).toBe(TEXT);
  await writeFile(folder.at("config.json"), Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d));
  expect((await refusalOf(() => readConfig(folder.path))).message).toEndWith("config.json: not UTF-8 text");
});

test.skipIf(process.platform === "win32")("a FIFO is refused, not waited for", async () => {
  await using folder = await TemporaryFolder.create();
  await Bun.$`mkfifo ${folder.at("config.json")}`;
  const refusal = await refusalOf(() => readConfig(folder.path));
  expect(refusal.message).toBe(`cannot read ${folder.at("config.json")}: this is not a file`);
});

test("a folder without one has none; what cannot be read is named", async () => {
  await using folder = await TemporaryFolder.create();
  expect(await readConfig(folder.path)).toBeUndefined();
  await writeFile(folder.at("config.json"), TEXT);
  expect(await readConfig(folder.path)).toMatchObject({ path: folder.at("config.json"), text: TEXT });
  await mkdir(folder.at("x", "config.json"), { recursive: true });
  const refusal = await refusalOf(() => readConfig(folder.at("x")));
  expect(refusal.message).toBe(`cannot read ${folder.at("x", "config.json")}: this is a folder, not a file`);
});
