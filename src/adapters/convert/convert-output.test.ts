import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { GeneratorName } from "../../compute/random/names.ts";
import { f32, numbers, parameters, writeFolder } from "../testing/adapters.ts";
import { CONFIG, convert, drawnPair, everything, OWN } from "../testing/convert.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

describe("--projections", () => {
  const setUp = async (folder: string, generator: GeneratorName) =>
    writeFolder(join(folder, "a"), CONFIG, { ...OWN, ...(await drawnPair({ generator })) });

  test("no leaves them out of a PEFT folder, which then says so to PEFT", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await setUp(folder.path, "torch-mt19937-bf16-v2");
    const out = join(folder.path, "out");
    expect(await convert(from, { to: "peft", out, projections: false })).toMatchObject({
      projections: false,
      tensors: 4,
      notes: [expect.stringContaining("only for a base that is stored in")],
    });
    const { config, bases } = await everything(out);
    expect(config["save_projection"]).toBe(false);
    expect(bases).toMatchObject({ generator: "torch-mt19937-bf16-v2" });
  });

  test("no is refused where PEFT would draw others", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await setUp(folder.path, "philox-v1");
    const conversion = convert(from, { to: "peft", out: join(folder.path, "out"), projections: false });
    await expect(conversion).rejects.toThrow("PEFT cannot draw its bases (philox-v1)");
  });

  test("yes puts them into an adapter.json", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await setUp(folder.path, "philox-v1");
    const out = join(folder.path, "out.json");
    const told: (readonly [number, number])[] = [];
    const onProgress = (read: number, total: number) => void told.push([read, total]);
    expect(await convert(from, { to: "json", out, projections: true, onProgress })).toMatchObject({
      projections: true,
      tensors: 6,
    });
    // Every byte is read once.
    expect([told.length > 5, told.at(-1)?.[0]]).toEqual([true, told.at(-1)?.[1]]);
  });

  test("yes is refused where nothing says how to draw them", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await writeFolder(join(folder.path, "a"), CONFIG, OWN);
    const conversion = convert(from, { to: "peft", out: join(folder.path, "out"), projections: true });
    await expect(conversion).rejects.toThrow("neither holds its bases nor records which generator drew them");
  });
});

test.each([
  ["peft", "out"],
  ["json", "out.json"],
] as const)("a signal stops what writes %s, and nothing is left", async (to, name) => {
  await using folder = await TemporaryFolder.create();
  const from = await writeFolder(join(folder.path, "a"), CONFIG, OWN);
  const stop = new AbortController();
  const conversion = convert(from, { to, out: join(folder.path, name), signal: stop.signal });
  stop.abort();
  await expect(conversion).rejects.toBe(stop.signal.reason);
  expect(await readdir(folder.path)).toEqual(["a"]);
});

test("bases that are not those that the file records are refused", async () => {
  await using folder = await TemporaryFolder.create();
  const drawn = await drawnPair({ generator: "torch-mt19937-bf16-v2" });
  const from = await writeFolder(join(folder.path, "a"), CONFIG, { ...OWN, ...drawn });
  await convert(from, { to: "peft", out: join(folder.path, "b") });
  const { bases } = await everything(join(folder.path, "b"));
  const other = { ...drawn, ...(await drawnPair({ generator: "torch-mt19937-bf16-v1" })) };
  await writeFolder(join(folder.path, "c"), CONFIG, { ...OWN, ...other }, { randlora_bases: JSON.stringify(bases) });
  const conversion = convert(join(folder.path, "c"), { to: "json", out: join(folder.path, "c.json") });
  await expect(conversion).rejects.toThrow("the bases that it holds are not those that it records");
});

describe("the output", () => {
  test("is replaced only when that is asked for, and never is the input", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await writeFolder(join(folder.path, "a"), CONFIG, OWN);
    const out = join(folder.path, "out.json");
    await convert(from, { to: "json", out });
    await expect(convert(from, { to: "json", out })).rejects.toThrow("it exists already");
    await convert(from, { to: "json", out, force: true });
    await expect(convert(from, { to: "peft", out: from, force: true })).rejects.toThrow("holds the input");
    await expect(convert(out, { to: "json", out, force: true })).rejects.toThrow("it is the input");
    await expect(convert(from, { to: "json", out: join(out, "below") })).rejects.toThrow(
      expect.objectContaining({ code: "file" }),
    );
    expect((await readdir(folder.path)).toSorted()).toEqual(["a", "out.json"]);
  });

  test("a failure leaves nothing behind", async () => {
    await using folder = await TemporaryFolder.create();
    const ids = { dtype: "I64" as const, shape: [1], data: new Uint8Array(8) };
    const from = await writeFolder(join(folder.path, "a"), CONFIG, { ...OWN, "base_model.model.position_ids": ids });
    const conversion = convert(from, { to: "json", out: join(folder.path, "deep", "out.json") });
    await expect(conversion).rejects.toThrow('tensor "position_ids" is I64');
    expect(await readdir(folder.path)).toEqual(["a"]);
  });

  test("the names of a head's classes stand beside it, in whatever format", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await writeFolder(join(folder.path, "a"), CONFIG, OWN);
    const names = '["cat", "Öl"]\n';
    await writeFile(join(from, "classes.json"), names);
    const json = join(folder.path, "j", "a.json");
    await convert(from, { to: "json", out: json });
    await convert(json, { to: "peft", out: join(folder.path, "b") });
    expect(await readFile(join(folder.path, "b", "classes.json"), "utf8")).toBe(names);
    await convert(from, { to: "json", out: json, force: true });
    await writeFile(join(from, "classes.json"), "[]");
    const another = convert(from, { to: "json", out: join(folder.path, "j", "b.json") });
    await expect(another).rejects.toThrow("it has the classes of another adapter");
    expect((await readdir(join(folder.path, "j"))).toSorted()).toEqual(["a.json", "classes.json"]);
  });

  test("where the adapter cannot appear, neither do they", async () => {
    await using folder = await TemporaryFolder.create();
    const from = await writeFolder(join(folder.path, "a"), CONFIG, OWN);
    await writeFile(join(from, "classes.json"), '["cat"]');
    const out = folder.at("j", "a.json");
    // Somebody else's file appears under the name while the adapter is written.
    const signal = Object.assign(new AbortController().signal, { throwIfAborted: () => writeFileSync(out, "mine") });
    await expect(convert(from, { to: "json", out, signal })).rejects.toThrow("it exists already");
    expect(await readdir(folder.at("j"))).toEqual(["a.json"]);
    expect(await readFile(out, "utf8")).toBe("mine");
  });

  test("a PEFT folder keeps its model card; a new one gets one", async () => {
    await using folder = await TemporaryFolder.create();
    const config = { ...CONFIG, base_model_name_or_path: "org/base" };
    const from = await writeFolder(join(folder.path, "a"), config, {
      ...OWN,
      "base_model.model.head.weight": numbers([2]),
    });
    await writeFile(join(from, "README.md"), "mine");
    await convert(from, { to: "peft", out: join(folder.path, "b") });
    expect(await readFile(join(folder.path, "b", "README.md"), "utf8")).toBe("mine");
    await convert(from, { to: "json", out: join(folder.path, "c.json") });
    await convert(join(folder.path, "c.json"), { to: "peft", out: join(folder.path, "d") });
    expect(await readFile(join(folder.path, "d", "README.md"), "utf8")).toContain("base_model: org/base\n");
  });
});

test("PEFT's names and the plain metadata are written", async () => {
  await using folder = await TemporaryFolder.create();
  const plain = parameters(5, { q: 12 }, "");
  const from = await writeFolder(
    join(folder.path, "a"),
    CONFIG,
    { randlora_A: f32([5, 1, 12], new Float32Array(60)), randlora_B: f32([12, 3, 5], new Float32Array(180)), ...plain },
    {},
  );
  await convert(from, { to: "peft", out: join(folder.path, "b") });
  const header = (await readFile(join(folder.path, "b", "adapter_model.safetensors"))).subarray(8).toString("latin1");
  const { __metadata__, ...tensors } = JSON.parse(header.slice(0, header.indexOf("}}") + 2)) as Record<string, unknown>;
  expect(__metadata__).toEqual({ format: "pt" });
  expect(Object.keys(tensors)).toEqual([
    "base_model.randlora_A",
    "base_model.randlora_B",
    "base_model.model.q.randlora_lambda",
    "base_model.model.q.randlora_gamma",
  ]);
});
