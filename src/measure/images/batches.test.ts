import { expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import type { LoadedBatch } from "../../data/images/loader.ts";
import { readPreprocessing } from "../../data/images/preprocessing.ts";
import { imageBatches, KeptBatches } from "./batches.ts";
import { writeClip } from "../../models/vision/testing/folder.ts";
import { openSamples } from "../analyze/samples.ts";
import { writeImages } from "../testing/images.ts";

async function all(batches: AsyncIterable<LoadedBatch>): Promise<LoadedBatch[]> {
  const found: LoadedBatch[] = [];
  for await (const batch of batches) found.push(batch);
  return found;
}

test("batches are the set's, however many of them are kept", async () => {
  await using folder = await TemporaryFolder.create();
  await writeClip(folder.at("clip"));
  await writeImages(folder.path, "val");
  const set = await openSamples({ data: folder.path });
  const options = { preprocessing: await readPreprocessing(folder.at("clip")), batchSize: 3 };
  const wanted = await all(imageBatches(set, options));
  expect(wanted.map(({ labels }) => labels.length)).toEqual([3, 3, 3, 1]);
  const bytes = 3 * 12 * 12 * 4;
  for (const room of [0, 6 * bytes, 7 * bytes, 2 ** 30]) {
    const kept = new KeptBatches(set, options, room);
    for (let time = 0; time < 3; time++) expect(await all(kept)).toEqual(wanted);
  }
  const one = new KeptBatches(set, options);
  const [first] = await all(one);
  expect((await all(one))[0]).toBe(first as LoadedBatch);
});

test("images are taken in an order at random, the same each time, and without a name from the first split that is there", async () => {
  await using folder = await TemporaryFolder.create();
  await writeImages(folder.path, "train");
  const set = await openSamples({ data: folder.path });
  expect([...set.labels].toSorted()).toEqual([0, 0, 0, 0, 1, 1, 2, 2, 2, 2]);
  expect([...set.labels]).not.toEqual([...set.labels].toSorted());
  const some = await openSamples({ data: folder.path, most: 4, split: "train" });
  expect([...some.labels]).toEqual([...set.labels.subarray(0, 4)]);
  expect(await some.source(3)).toEqual(await set.source(3));
  await expect(openSamples({ data: folder.path, split: "test" })).rejects.toMatchObject({ code: "data" });
});
