import { expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { writeModel } from "../../models/testing/models.ts";
import { sizeOfModel } from "./show-run.ts";

test("the size of a change is the norm of ΔW by that of W, of matrices that both models have", async () => {
  await using folder = await TemporaryFolder.create();
  // Of a.weight all four numbers change from 2 to 3; what is no matrix, or is not there before, does not count.
  await writeModel(folder.at("base"), {}, { "a.weight": [2, 2], norm: [2] }, () => 2);
  await writeModel(folder.at("trained"), {}, { "a.weight": [2, 2], norm: [2], head: [1, 2] }, (at) => (at < 4 ? 3 : 9));
  const location = { folder: folder.at("base"), weights: undefined };
  const { signal } = new AbortController();
  expect(await sizeOfModel(folder.at("trained"), location, signal)).toBeCloseTo(1 / 2, 6);
  await writeModel(folder.at("zero"), {}, { "a.weight": [2, 2] }, () => 0);
  expect(await sizeOfModel(folder.at("trained"), { ...location, folder: folder.at("zero") }, signal)).toBeUndefined();
});

test("of a large matrix only the sample is read", async () => {
  await using folder = await TemporaryFolder.create();
  const shapes = { "embedding.weight": [2 ** 11 + 1, 2 ** 11] };
  await writeModel(folder.at("base"), {}, shapes, () => 2);
  await writeModel(folder.at("trained"), {}, shapes, (at) => (at < 2 ** 22 ? 3 : 9));
  const location = { folder: folder.at("base"), weights: undefined };
  expect(await sizeOfModel(folder.at("trained"), location, new AbortController().signal)).toBe(1 / 2);
});
