import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, sep } from "node:path";
import { sourcesOf } from "./mutants/copy.ts";
import { MUTATIONS } from "./mutants/list.ts";
import { mutate } from "./mutants/mutation.ts";
import { Reach } from "./mutants/reach.ts";

const ROOT = join(import.meta.dir, "..");

test("every mutation still applies: the text that it replaces occurs once", () => {
  const failed = MUTATIONS.flatMap((mutation) => {
    try {
      const text = mutate(ROOT, mutation);
      return text === readFileSync(join(ROOT, mutation.file), "utf8") ? [`${mutation.file}: nothing changes`] : [];
    } catch (thrown) {
      return [String(thrown)];
    }
  });
  expect(failed).toEqual([]);
  expect(new Set(MUTATIONS.map(({ file, find, replace }) => `${file} ${find} ${replace}`)).size).toBe(MUTATIONS.length);
});

test("every folder of src that has code has a mutation", () => {
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  const hasCode = (path: string) =>
    path.endsWith(".wgsl") || transpiler.transformSync(readFileSync(join(ROOT, path), "utf8")).trim() !== "";
  const sources = [...new Bun.Glob("src/**/*.{ts,wgsl}").scanSync(ROOT)]
    .map((path) => path.replaceAll(sep, "/"))
    .filter((path) => !/\.test\.ts$|\.d\.ts$|\/testing\//.test(path));
  const mutated = new Set(MUTATIONS.map(({ file }) => dirname(file)));
  const without = sources.filter((path) => !mutated.has(dirname(path)) && hasCode(path)).map((path) => dirname(path));
  expect([...new Set(without)]).toEqual([]);
  expect(MUTATIONS.length).toBeGreaterThanOrEqual(70);
});

test("tests reach a source by imports, by a program that they start and by the module compiled from it", () => {
  const reach = new Reach(ROOT, sourcesOf(ROOT));
  const [beside] = reach.testsOf("src/compute/device/pairing.ts");
  expect(beside).toBe("src/compute/device/pairing.test.ts");
  expect(reach.testsOf("src/train/run/lock.ts")).toContain("cmd/finetune.test.ts");
  expect(reach.testsOf("src/compute/cpu/assembly/philox.ts")).toContain("src/compute/cpu/kernels.test.ts");
  const unreached = MUTATIONS.filter(({ file }) => reach.testsOf(file).length === 0);
  expect(unreached).toEqual([]);
});
