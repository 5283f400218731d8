import { expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { defaultOutput, indexMetadata, isLoneFile } from "./output.ts";
import { TemporaryFolder, refusalOf } from "../../../files/testing/folder.ts";

test.each([
  ["models/x", false, "x-merged"],
  ["models/x/", true, "x-unmerged"],
  ["models/x.safetensors", false, "x-merged.safetensors"],
  ["models/x.gguf", true, "x-unmerged.gguf"],
  ["models/x/model.safetensors.index.json", false, "x-merged"],
  [".", false, `${basename(process.cwd())}-merged`],
])("the output of %s (unmerge: %p) is %s", (base, unmerge, out) => {
  expect(defaultOutput(base, unmerge)).toBe(out);
});

test("a lone file is any file but an index", async () => {
  await using folder = await TemporaryFolder.create();
  for (const name of ["x.safetensors", "0a1b2c", "model.safetensors.index.json"]) await writeFile(folder.at(name), "");
  expect(await isLoneFile(folder.at("x.safetensors"))).toBe(true);
  expect(await isLoneFile(folder.at("0a1b2c"))).toBe(true);
  expect(await isLoneFile(folder.at("model.safetensors.index.json"))).toBe(false);
  expect(await isLoneFile(folder.path)).toBe(false);
  expect((await refusalOf(() => isLoneFile(folder.at("missing")))).message).toContain("no such file or folder");
});

test("an index counts the parameters that were added; without a count there is none", () => {
  const known = new Map([["embedding", undefined]]);
  const tensors = [
    { name: "embedding", shape: [10, 4] },
    { name: "head", shape: [10, 4] },
    { name: "bias", shape: [10] },
  ];
  const own = { total_parameters: 40, total_size: 80, note: "x" };
  expect(indexMetadata(own, known, tensors)).toEqual({ ...own, total_parameters: 90 });
  expect(indexMetadata(own, known, tensors.slice(0, 1))).toEqual(own);
  expect(indexMetadata({ note: "x" }, known, tensors)).toEqual({ note: "x" });
});
