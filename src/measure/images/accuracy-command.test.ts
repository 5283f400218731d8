import { expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { readPreprocessing } from "../../data/images/preprocessing.ts";
import { writeClip } from "../../models/vision/testing/folder.ts";
import { openSamples } from "../analyze/samples.ts";
import { writeImages } from "../testing/images.ts";
import { measureAccuracy } from "./accuracy-command.ts";
import type { ImageClassifier } from "./classifier.ts";

test("accuracy is the share of images that are taken for what they are, also of each class", async () => {
  await using folder = await TemporaryFolder.create();
  await writeClip(folder.at("clip"));
  await writeImages(folder.path, "val");
  const set = await openSamples({ data: folder.path });
  expect([...set.labels].toSorted()).toEqual([0, 0, 0, 0, 1, 1, 2, 2, 2, 2]);
  // Takes everything for the last class.
  const classifier = {
    logits: async ({ count }: { readonly count: number }) =>
      Array.from({ length: count }, () => Float32Array.of(0, 0, Math.log(2))),
  } as unknown as ImageClassifier;
  const options = { preprocessing: await readPreprocessing(folder.at("clip")), batchSize: 3 };
  const { images, accuracy, loss, perClass } = await measureAccuracy(classifier, set, options);
  expect([images, accuracy]).toEqual([10, 0.4]);
  expect([...perClass.values()]).toEqual([0, 0, 1]);
  expect(loss).toBeCloseTo(0.6 * Math.log(4) + 0.4 * Math.log(2), 5);
});
