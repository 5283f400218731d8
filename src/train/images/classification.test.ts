import { expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { readRows } from "../../compute/tensor/read-rows.ts";
import { Run } from "../../compute/tensor/run.ts";
import { CLIP, CLIP_SHAPES, loadImageModel, writeImageModel } from "../../models/vision/testing/models.ts";
import { ZeroShotHead } from "./classification.ts";

const unit = (vector: readonly number[]) => vector.map((value) => value / Math.hypot(...vector));

test("a class's row is the unit vector along the sum of its texts' unit vectors, however long these are", async () => {
  await using folder = await TemporaryFolder.create();
  using gpu = await openTestDevice();
  await writeImageModel(folder.at("clip"), CLIP, CLIP_SHAPES);
  using clip = await loadImageModel(gpu, folder.at("clip"));
  const classes = [
    [
      [3, 4, 19],
      [5, 19],
    ],
    [[7, 8, 9, 19]],
  ];
  const texts = classes.flat();
  using run = new Run(gpu);
  const vectors = run.keep(clip.recordTexts(run, texts));
  const size = vectors.shape[1];
  await run.submit();
  const all = await readRows(gpu, vectors, 0, texts.length);
  const [a = [], b = [], c = []] = texts.map((_, at) => unit([...all.subarray(at * size, (at + 1) * size)]));
  const lengths = texts.map((_, at) => Math.hypot(...all.subarray(at * size, (at + 1) * size)));
  expect(Math.max(...lengths) / Math.min(...lengths)).toBeGreaterThan(1.01);

  const head = new ZeroShotHead(gpu, classes.length, size);
  await head.fill(clip, classes);
  const rows = [...(await readRows(gpu, head.weight, 0, classes.length))];
  const wanted = [...unit(a.map((value, at) => value + (b[at] ?? NaN))), ...unit(c)];
  for (const [at, value] of wanted.entries()) expect(rows[at]).toBeCloseTo(value, 5);
  head.release();
  gpu.memory.release(vectors.buffer);
});
