import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import type { FactorsSpec } from "../frozen/drawing/factors.ts";
import { convert, everything } from "../testing/convert.ts";
import { foreignFactors, type TestVera, veraTensors, writeVera } from "../testing/vera.ts";
import type { TestTensor } from "../testing/adapters.ts";
import { drawTensors } from "../frozen/convert.ts";
import { VERA_FACTORS } from "./plan.ts";

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
});
afterAll(() => folder[Symbol.asyncDispose]());

const VERA: TestVera = { r: 30, modules: { q: [150, 140] } };
/** More elements than a fingerprint covers. */
const SPEC: FactorsSpec = { generator: "torch-mt19937-f32", key: 0n, r: 30, maxIn: 200, maxOut: 150, grid: "f32" };

/** An adapter with the factors that `spec` draws, as PEFT saves them. */
async function withDrawn(spec: Partial<FactorsSpec>): Promise<TestVera> {
  const { grid: dtype, ...full } = { ...SPEC, ...spec };
  const { a, b } = await drawTensors(VERA_FACTORS, { ...full, dtype }, full);
  const stored = async ({ shape, readAll }: typeof a): Promise<TestTensor> => {
    return { dtype: "F32", shape, data: await readAll() };
  };
  const pair = { "base_model.vera_A": await stored(a), "base_model.vera_B": await stored(b) };
  return { ...VERA, tensors: { ...veraTensors(VERA), ...pair }, config: { save_projection: true, odd: "kept" } };
}

const names = (tensors: Record<string, unknown>) => Object.keys(tensors).filter((name) => /vera_[AB]$/.test(name));

describe("PEFT → adapter.json → PEFT loses nothing, and needs no factors on the way", () => {
  test.each([
    ["torch-mt19937-f32", "f32"],
    ["torch-mt19937-f32", "bf16"],
    ["torch-mt19937-f32", "f16"],
    ["philox-v1", "f32"],
    ["philox-v1", "bf16"],
  ] as const)("%s on the grid of %s", async (generator, grid) => {
    const [from, json, back] = ["", ".json", "-back"].map((end) => folder.at(`${generator}-${grid}${end}`));
    if (from === undefined || json === undefined || back === undefined) throw new Error("no places");
    await writeVera(from, await withDrawn({ generator, grid }));
    const found = await convert(from, { to: "json", out: json });
    expect([found.generator, found.projections]).toEqual([generator, false]);
    const middle = await everything(json);
    expect(names(middle.tensors)).toEqual([]);
    expect(middle.bases).toMatchObject({ generator, dtype: grid });
    expect(middle.bases).not.toHaveProperty("pairing");
    expect(await convert(json, { to: "peft", out: back })).toMatchObject({ generator, projections: true });
    const [before, after] = [await everything(from), await everything(back)];
    expect(after.config).toEqual(before.config);
    expect(after.tensors).toEqual(before.tensors);
  });
});

test("factors that no generator draws stay in the file; one last bit is enough", async () => {
  const from = folder.at("foreign");
  const drawn = await withDrawn({});
  const b = drawn.tensors?.["base_model.vera_B"];
  if (b === undefined) throw new Error("no factor");
  const data = new Uint8Array(b.data);
  // The last element, which no fingerprint covers, one unit in the last place away.
  data[data.length - 4] = (data.at(-4) ?? 0) ^ 1;
  await writeVera(from, { ...drawn, tensors: { ...drawn.tensors, "base_model.vera_B": { ...b, data } } });
  const found = await convert(from, { to: "json", out: folder.at("foreign.json") });
  expect([found.generator, found.projections]).toEqual([undefined, true]);
  const cause = "no known generator draws its bases, so leaving them out would lose them";
  await expect(convert(from, { to: "json", out: folder.at("never.json"), projections: false })).rejects.toThrow(cause);
  const others = { ...VERA, tensors: { ...veraTensors(VERA), ...foreignFactors(30, 200, 150) } };
  await writeVera(folder.at("others"), others);
  expect((await convert(folder.at("others"), { to: "json", out: folder.at("o.json") })).projections).toBe(true);
});

test("projections: no is for what PEFT can draw; yes, for what somebody recorded", async () => {
  const [peft, ours] = [folder.at("peft"), folder.at("ours")];
  await writeVera(peft, await withDrawn({ grid: "bf16" }));
  const bare = await convert(peft, { to: "peft", out: folder.at("bare"), projections: false });
  expect(bare.notes.join()).toContain("only for a base that is stored in bf16");
  const { config, tensors } = await everything(folder.at("bare"));
  expect([config["save_projection"], names(tensors)]).toEqual([false, []]);

  await writeVera(ours, await withDrawn({ generator: "philox-v1" }));
  const refused = convert(ours, { to: "peft", out: folder.at("never"), projections: false });
  await expect(refused).rejects.toThrow("PEFT cannot draw its bases (philox-v1)");

  await writeVera(folder.at("unknown"), VERA);
  const unknown = await convert(folder.at("unknown"), { to: "json", out: folder.at("unknown.json") });
  expect(unknown.notes.join()).toContain("does not say what drew its bases");
  const wanted = convert(folder.at("unknown"), { to: "json", out: folder.at("never"), projections: true });
  await expect(wanted).rejects.toThrow("neither holds its bases nor records");
});

test("a file whose factors are not those that it records is refused", async () => {
  await writeVera(folder.at("recorded"), await withDrawn({}));
  await convert(folder.at("recorded"), { to: "json", out: folder.at("recorded.json"), projections: true });
  const text = (await Bun.file(folder.at("recorded.json")).text()).replace('"dtype": "f32"', '"dtype": "bf16"');
  await Bun.write(folder.at("changed.json"), text);
  const changed = convert(folder.at("changed.json"), { to: "peft", out: folder.at("never") });
  await expect(changed).rejects.toThrow("the bases that it holds are not those that it records");
});
