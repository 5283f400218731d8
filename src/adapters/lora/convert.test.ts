import { expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { convert, everything } from "../testing/convert.ts";
import { JsonNumber } from "../../files/lossless-json.ts";
import { type TestLora, writeLora } from "../testing/lora.ts";
import { TemporaryFolder, refusalOf } from "../../files/testing/folder.ts";

const LORA: TestLora = { r: 3, alpha: 6, seed: 1, modules: { "m.q": [8, 8], "m.up": [12, 8] }, ranks: { "m.up": 5 } };
const config = {
  lora_alpha: new JsonNumber("6.0"),
  loftq_config: { x: new JsonNumber("1e-05") },
  of_tomorrow: null,
  use_rslora: true,
};

test("PEFT → adapter.json → PEFT loses nothing", async () => {
  await using folder = await TemporaryFolder.create();
  const [json, back] = [join(folder.path, "a.json"), join(folder.path, "back")];
  const from = await writeLora(join(folder.path, "a"), LORA, { config });
  const done = await convert(from, { to: "json", out: json });
  expect(done).toMatchObject({ tensors: 4, generator: undefined, projections: false, notes: [] });
  expect(await everything(json)).toEqual(await everything(from));
  await convert(json, { to: "peft", out: back });
  expect(await everything(back)).toEqual(await everything(from));
  const files = [from, back].map((path) => readFile(join(path, "adapter_model.safetensors")));
  const [before, after] = await Promise.all(files);
  expect(after).toEqual(before ?? Buffer.alloc(0));
  expect(await readFile(join(back, "adapter_config.json"), "utf8")).not.toContain("save_projection");
  expect(await readFile(join(back, "README.md"), "utf8")).toContain("# LoRA adapter");
});

test("it has no bases to write, and none to leave out", async () => {
  await using folder = await TemporaryFolder.create();
  const from = await writeLora(join(folder.path, "a"), LORA);
  const out = join(folder.path, "b");
  const refusal = await refusalOf(() => convert(from, { to: "peft", out, projections: true }));
  expect([refusal.code, refusal.message]).toEqual(["usage", expect.stringContaining("no random bases")]);
  expect(await Bun.file(join(out, "adapter_config.json")).exists()).toBe(false);
  expect((await convert(from, { to: "peft", out, projections: false })).tensors).toBe(4);
});
