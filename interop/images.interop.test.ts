import * as v from "valibot";
import { expect, test } from "bun:test";
import { decodeImage } from "../src/data/images/decode.ts";
import { normalizationTable, normalizeInto } from "../src/data/images/loader.ts";
import { prepare } from "../src/data/images/job.ts";
import { readPreprocessing } from "../src/data/images/preprocessing.ts";
import { type Filter, resize } from "../src/data/images/resize.ts";
import { digest } from "../src/data/images/testing/expected.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { judge } from "./judge.ts";

const FILTERS: readonly Filter[] = ["lanczos", "bilinear", "bicubic", "box"];
const PROCESSORS = ["clip", "dinov2", "odd", "square"] as const;
const Pair = v.tuple([v.number(), v.number()]);
const Images = v.array(
  v.object({
    file: v.string(),
    size: Pair,
    pixels: v.string(),
    upright: v.string(),
    to: Pair,
    resized: v.record(v.string(), v.string()),
    prepared: v.record(v.string(), v.string()),
  }),
);

test("images of every kind are Pillow's, resized, prepared and normalized, bit for bit", async () => {
  await using folder = await TemporaryFolder.create();
  const told = await (await judge()).script("images.py", folder.path, "3", "200");
  const images = v.parse(Images, JSON.parse(told));
  expect(images.length).toBe(200);
  const settings = await Promise.all(PROCESSORS.map((name) => readPreprocessing(folder.at(name))));
  const wrong: string[] = [];
  const check = (file: string, what: string, ours: string, theirs: string | undefined) => {
    if (ours !== theirs) wrong.push(`${file}: ${what}`);
  };
  let turned = 0;
  for (const { file, size, pixels, upright, to, resized, prepared } of images) {
    const bytes = new Uint8Array(await Bun.file(folder.at(file)).arrayBuffer());
    const image = await decodeImage(bytes, file, { upright: false });
    expect([image.width, image.height]).toEqual(size);
    check(file, "pixels", digest(image.data), pixels);
    const right = await decodeImage(bytes, file, { upright: true });
    check(file, "upright", digest(right.data), upright);
    if (pixels !== upright) turned++;
    for (const filter of FILTERS) {
      check(file, `${filter} to ${to.join(" × ")}`, digest(resize(image, ...to, filter).data), resized[filter]);
    }
    for (const [i, name] of PROCESSORS.entries()) {
      const preprocessing = settings[i];
      if (preprocessing === undefined) continue;
      const { data } = prepare(right, preprocessing);
      const values = new Float32Array(data.length);
      normalizeInto(data, normalizationTable(preprocessing), values, 0);
      check(file, `prepared for ${name}`, digest(values), prepared[name]);
    }
  }
  expect(wrong).toEqual([]);
  expect(turned).toBeGreaterThan(40);
});
