import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { drawBases, type BasesSpec } from "../frozen/drawing/draw.ts";
import { stdKey } from "../frozen/drawing/bases.ts";
import { FileStdCache, stdCachePath } from "./std-cache.ts";

const LARGE = 1 << 22;
let folder: TemporaryFolder;
beforeEach(async () => {
  folder = await TemporaryFolder.create();
});
afterEach(() => folder[Symbol.asyncDispose]());

const spec: BasesSpec = {
  generator: "torch-mt19937-bf16-v2",
  key: 1n,
  r: 4,
  max: 30,
  min: 20,
  sparsity: "dense",
  grid: "f32",
};

test("pairs outlive the process, and those of another process stay", () => {
  const path = folder.at("below", "std.json");
  const [one, other] = [new FileStdCache(path), new FileStdCache(path)];
  expect([one.get("a"), other.get("b")]).toEqual([null, null]);
  one.set("a", { a: 0.1, b: 0.2 }, LARGE);
  other.set("b", { a: 0.3, b: 0.4 }, LARGE);
  const later = new FileStdCache(path);
  expect(later.get("a")).toEqual({ a: 0.1, b: 0.2 });
  expect(later.get("b")).toEqual({ a: 0.3, b: 0.4 });
  expect(readdirSync(folder.at("below"))).toEqual(["std.json"]);
});

test("small bases are remembered without a file", () => {
  const cache = new FileStdCache(folder.at("std.json"));
  cache.set("a", { a: 1, b: 2 }, 1000);
  expect(cache.get("a")).toEqual({ a: 1, b: 2 });
  expect(readdirSync(folder.path)).toEqual([]);
});

test.each([
  ["no JSON", "{"],
  ["another version", '{"version": 2, "stds": {"a": {"a": 1, "b": 1}}}'],
  ["a list", "[1]"],
  ["damaged pairs", '{"version": 1, "stds": {"a": {"a": -1, "b": 1}, "b": null, "c": {"a": "1", "b": 1}}}'],
])("a file with %s is as good as none, and is replaced", (_, text) => {
  const path = folder.at("std.json");
  writeFileSync(path, text);
  const cache = new FileStdCache(path);
  expect(cache.get("a")).toBeNull();
  cache.set("z", { a: 1, b: 2 }, LARGE);
  expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({ version: 1, stds: { z: { a: 1, b: 2 } } });
});

test("a file that cannot be written fails nothing", () => {
  const blocked = folder.at("file");
  writeFileSync(blocked, "");
  chmodSync(blocked, 0o400);
  const cache = new FileStdCache(join(blocked, "std.json"));
  expect(cache.get("a")).toBeNull();
  cache.set("a", { a: 1, b: 2 }, LARGE);
  expect(cache.get("a")).toEqual({ a: 1, b: 2 });
  expect(readFileSync(blocked, "utf8")).toBe("");
});

test("the key holds all that the standard deviations depend on, and no more", () => {
  const same: BasesSpec[] = [
    { ...spec, grid: "bf16" },
    { ...spec, key: 2n ** 32n + 1n },
  ];
  const different: BasesSpec[] = [
    { ...spec, key: 2n },
    { ...spec, r: 5 },
    { ...spec, max: 31 },
    { ...spec, min: 21 },
    { ...spec, generator: "torch-mt19937-bf16-v1" },
    { ...spec, generator: "torch-mt19937-ternary", sparsity: "sparse" },
    { ...spec, generator: "torch-mt19937-ternary", sparsity: "very-sparse" },
  ];
  expect(same.map(stdKey)).toEqual([stdKey(spec), stdKey(spec)]);
  expect(new Set([spec, ...different].map(stdKey)).size).toBe(different.length + 1);
});

test("drawing uses what is cached", () => {
  const cache = new FileStdCache(folder.at("std.json"));
  const first = drawBases(spec, { rows: 3, bases: 1, cols: 5 }, cache);
  expect(cache.get(stdKey(spec))).toEqual({ a: first.stdA ?? 0, b: first.stdB ?? 0 });
  cache.set(stdKey(spec), { a: 0.5, b: 0.25 }, 1);
  const second = drawBases(spec, { rows: 3, bases: 1, cols: 5 }, cache);
  expect([second.stdA, second.stdB]).toEqual([0.5, 0.25]);
});

test("lies in the user's cache folder", () => {
  expect(stdCachePath({ RANDLORA_CACHE: "/own", XDG_CACHE_HOME: "/xdg" })).toBe(join("/own", "std.json"));
  expect(stdCachePath({ XDG_CACHE_HOME: "/xdg" })).toBe(join("/xdg", "randlora", "std.json"));
  expect(stdCachePath({ XDG_CACHE_HOME: "relative" })).toEndWith(join(".cache", "randlora", "std.json"));
  expect(stdCachePath({})).toEndWith(join(".cache", "randlora", "std.json"));
});
