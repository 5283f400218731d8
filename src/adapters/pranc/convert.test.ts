import { expect, test } from "bun:test";
import { readFile } from "node:fs/promises";
import { JsonNumber } from "../../files/lossless-json.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { convert, everything } from "../testing/convert.ts";
import { type TestPranc, writePranc } from "../testing/pranc.ts";

const PRANC: TestPranc = {
  seed: 2n ** 64n - 3n,
  alpha: 1,
  coefficients: [0.1, -0.2, Math.fround(1e-7)],
  modules: { "m.q": [8, 8], "m.up": [12, 8] },
};
const config = { pranc_alpha: new JsonNumber("1.0"), from_the_future: { x: new JsonNumber("1e-05") } };

test("PEFT's files → adapter.json → PEFT's files loses nothing", async () => {
  await using folder = await TemporaryFolder.create();
  const from = await writePranc(folder.at("a"), PRANC, { config });
  const done = await convert(from, { to: "json", out: folder.at("a.json") });
  expect(done).toMatchObject({ tensors: 1, generator: "philox-v1", projections: false, notes: [] });
  expect(await everything(folder.at("a.json"))).toEqual(await everything(from));
  const json: unknown = JSON.parse(await readFile(folder.at("a.json"), "utf8"));
  expect(json).toMatchObject({ tensors: { pranc_coefficients: { dtype: "F32", shape: [3] } } });
  await convert(folder.at("a.json"), { to: "peft", out: folder.at("back") });
  expect(await everything(folder.at("back"))).toEqual(await everything(from));
  expect(await readFile(folder.at("back", "README.md"), "utf8")).toContain(
    "PEFT, which has no such adapters, cannot load it",
  );
  const weights = (name: string) => readFile(folder.at(name, "adapter_model.safetensors"));
  expect(await weights("back")).toEqual(await weights("a"));
});

test("bases are never written, and coefficients not without what draws them", async () => {
  await using folder = await TemporaryFolder.create();
  const from = await writePranc(folder.at("a"), PRANC);
  const refusal = await refusalOf(() => convert(from, { to: "peft", out: folder.at("b"), projections: true }));
  expect([refusal.code, refusal.message]).toEqual(["usage", expect.stringContaining("--projections yes")]);
  expect((await convert(from, { to: "peft", out: folder.at("c"), projections: false })).tensors).toBe(1);
  const bare = await writePranc(folder.at("bare"), PRANC, { bases: null });
  const lost = await refusalOf(() => convert(bare, { to: "json", out: folder.at("d.json") }));
  expect([lost.code, lost.message]).toEqual(["format", expect.stringContaining("does not record its bases")]);
});
