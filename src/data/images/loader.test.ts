import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { refusalOf } from "../../files/testing/folder.ts";
import { runJob } from "./job.ts";
import { ImageLoader, type LoaderOptions, normalizationTable, normalizeInto } from "./loader.ts";
import { parsePreprocessing } from "./preprocessing.ts";
import { fileSet } from "./datasets/files.ts";
import type { ImageSet } from "./datasets/types.ts";
import { IMAGES } from "./testing/expected.ts";

const preprocessing = parsePreprocessing({ size: 14, crop_size: { height: 14, width: 12 } }, "settings");

function setOf(...names: readonly string[]): ImageSet {
  const classes = names.map((name) => `class of ${name}`);
  const samples = names.map((name, label) => ({ file: join(IMAGES, name), label }));
  return fileSet(IMAGES, { classes, texts: classes, upright: true }, samples);
}

const SET = setOf("rgb.png", "420.jpg", "turned-6.jpg", "palette.gif");

/** A set that counts how often each image is asked for. */
function counted(set: ImageSet): { set: ImageSet; counts: number[] } {
  const counts = Array<number>(set.labels.length).fill(0);
  const source = (index: number) => {
    counts[index] = (counts[index] ?? 0) + 1;
    return set.source(index);
  };
  return { set: { ...set, source }, counts };
}

async function load(options: Partial<LoaderOptions>, indices: number[], epoch = 0, set = SET) {
  using loader = new ImageLoader(set, { preprocessing, threads: 0, ...options });
  return await loader.load({ indices, epoch });
}

describe("ImageLoader", () => {
  test("makes a batch in the order of the request", async () => {
    const { images, labels, bad } = await load({}, [2, 0, 2]);
    expect([images.count, [...labels], images.size, bad]).toEqual([3, [2, 0, 2], [14, 12], []]);
    const expected = new Float32Array(3 * 3 * 14 * 12);
    for (const [i, index] of [2, 0, 2].entries()) {
      const bytes = await runJob({ source: await SET.source(index), upright: true, preprocessing });
      normalizeInto(bytes, normalizationTable(preprocessing), expected, i * 3 * 14 * 12);
    }
    expect(images.pixels).toEqual(expected);
  });

  test("gives the same with threads, and ahead of time", async () => {
    const requests = Array.from({ length: 5 }, (_, i) => ({ indices: [i % 4, (i + 1) % 4], epoch: i }));
    const plain = await Promise.all(requests.map(({ indices, epoch }) => load({ augment: 3n }, indices, epoch)));
    using loader = new ImageLoader(SET, { preprocessing, augment: 3n, threads: 2, ahead: 2 });
    for (const [i, request] of requests.entries()) {
      loader.expect(requests.slice(i + 1));
      expect(await loader.load(request)).toEqual(plain[i] as never);
    }
  });

  test("augments by seed, epoch and image", async () => {
    const of = async (augment: bigint | undefined, epoch: number) =>
      (await load({ augment }, [0], epoch)).images.pixels.join();
    expect(await of(1n, 4)).toBe(await of(1n, 4));
    const all = await Promise.all([of(undefined, 0), of(1n, 4), of(1n, 5), of(2n, 4)]);
    expect(new Set(all).size).toBe(4);
    expect(await of(undefined, 1)).toBe(await of(undefined, 2));
  });

  test("begins what is expected once, no more of it than may be ahead, and lets go of what is not", async () => {
    const { set, counts } = counted(SET);
    using loader = new ImageLoader(set, { preprocessing, threads: 0, ahead: 2 });
    const request = (index: number) => ({ indices: [index], epoch: 0 });
    loader.expect([0, 1, 2, 3].map(request));
    expect(counts).toEqual([1, 1, 0, 0]);
    await loader.load(request(0));
    loader.expect([1, 2].map(request));
    expect(counts).toEqual([1, 1, 1, 0]);
    loader.expect([3].map(request));
    await loader.load(request(3));
    await loader.load(request(1));
    expect(counts).toEqual([1, 2, 1, 1]);
  });

  test("throws for a bad image when its batch is asked for, not before", async () => {
    const set = setOf("rgb.png", "half.jpg", "film.png");
    using loader = new ImageLoader(set, { preprocessing, threads: 1 });
    loader.expect([{ indices: [2, 1], epoch: 0 }]);
    expect((await loader.load({ indices: [0], epoch: 0 })).images.count).toBe(1);
    const refusal = await refusalOf(() => loader.load({ indices: [2, 1], epoch: 0 }));
    expect(refusal.message).toContain("film.png: an animated PNG");
  });

  test("leaves bad images out where it may, and names them", async () => {
    const set = setOf("rgb.png", "half.jpg", "none.jpg", "420.jpg");
    const batch = await load({ skipBad: true }, [3, 1, 0, 2], 0, set);
    const whole = await load({}, [3, 0], 0, set);
    expect([[...batch.labels], batch.images]).toEqual([[3, 0], whole.images]);
    expect(batch.bad.length).toBe(2);
    expect(batch.bad[0]).toEndWith("half.jpg: the JPEG is cut short");
    expect(batch.bad[1]).toContain("none.jpg");
    const none = await load({ skipBad: true }, [1], 0, set);
    expect([none.images.count, none.images.pixels.length, none.bad.length]).toEqual([0, 0, 1]);
  });
});
