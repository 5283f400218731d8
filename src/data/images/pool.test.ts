import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { build } from "../../../scripts/build.ts";
import { refusalOf, TemporaryFolder } from "../../files/testing/folder.ts";
import { runToEnd } from "../../files/testing/process.ts";
import { type Job, runJob } from "./job.ts";
import { ImagePool, PROCESS_PIXELS } from "./pool.ts";
import { parsePreprocessing } from "./preprocessing.ts";
import type { Source } from "./datasets/types.ts";
import { bytesOf, IMAGES } from "./testing/expected.ts";

const preprocessing = parsePreprocessing({ size: 14, crop_size: 14 }, "settings");
const file = (name: string): Source => ({ name, from: { file: join(IMAGES, name) } });

const JOBS: readonly Job[] = [
  { source: file("cmyk.jpg"), upright: true, preprocessing },
  { source: file("turned-6.jpg"), upright: true, preprocessing },
  { source: file("turned-6.jpg"), upright: false, preprocessing },
  // A view into a larger buffer, as rows of parquet are.
  { source: { name: "bytes", from: { bytes: padded(bytesOf("rgb.png")) } }, upright: true, preprocessing },
  {
    source: file("rgb.ppm"),
    upright: false,
    preprocessing: parsePreprocessing({ size: 7, crop_size: 14 }, "settings"),
  },
  { source: file("rgb.png"), upright: false, preprocessing, augmentation: { seed: 5n, epoch: 1, index: 7 } },
];

function ppm(width: number, height: number): Uint8Array {
  const header = Buffer.from(`P6 ${width} ${height} 255\n`);
  return Buffer.concat([header, new Uint8Array(width * height * 3)]);
}

function padded(bytes: Uint8Array): Uint8Array {
  const buffer = new Uint8Array(bytes.length + 100);
  buffer.set(bytes, 50);
  return buffer.subarray(50, 50 + bytes.length);
}

describe.each([0, 1, 3])("a pool of %d threads", (threads) => {
  test("gives the bytes that a single job gives, for each kind of source", async () => {
    using pool = new ImagePool(threads);
    const many = [...JOBS, ...JOBS, ...JOBS, ...JOBS];
    const expected = await Promise.all(many.map((job) => runJob(job)));
    expect(new Set(expected.slice(0, JOBS.length).map((bytes) => bytes.join())).size).toBe(JOBS.length);
    expect(await Promise.all(many.map((job) => pool.run(job)))).toEqual(expected);
  });

  test("throws what a job throws, and goes on", async () => {
    using pool = new ImagePool(threads);
    const results = ["none.jpg", "half.jpg", "film.gif"].map((name) =>
      pool.run({ source: file(name), upright: true, preprocessing }),
    );
    const [missing, short, film] = await Promise.all(results.map((result) => refusalOf(() => result)));
    expect([missing?.code, missing?.message.includes("none.jpg"), missing?.hint]).toEqual([
      "file",
      true,
      "check the path",
    ]);
    expect(short?.message).toBe("half.jpg: the JPEG is cut short");
    expect([film?.code, film?.message]).toEqual(["format", "film.gif: an animated GIF"]);
    expect((await pool.run(JOBS[0] as Job)).length).toBe(14 * 14 * 3);
  });

  test("lets large images wait for what the process may decode at once, and small ones pass", async () => {
    const all = await PROCESS_PIXELS.take(Infinity);
    const large: Job = { source: { name: "large", from: { bytes: ppm(2000, 2001) } }, upright: true, preprocessing };
    let done = false;
    {
      using pool = new ImagePool(threads);
      const waiting = pool.run(large).then(() => (done = true));
      for (let i = 0; i < 3; i++) await pool.run(JOBS[0] as Job);
      expect(done).toBe(false);
      all[Symbol.dispose]();
      await waiting;
    }
    // A pool that ends while it has a share, or waits for one, gives it back.
    const again = await PROCESS_PIXELS.take(Infinity);
    const pool = new ImagePool(threads);
    const ended = pool.run(large).catch(() => "ended");
    await pool.run(JOBS[0] as Job);
    pool[Symbol.dispose]();
    again[Symbol.dispose]();
    if (threads > 0) expect(await ended).toBe("ended");
    else await ended;
    (await PROCESS_PIXELS.take(Infinity))[Symbol.dispose]();
  });

  test("ends with what was asked of it", async () => {
    const pool = new ImagePool(threads);
    const results = Array.from({ length: 20 }, () =>
      pool.run(JOBS[0] as Job).then(
        () => "done",
        () => "ended",
      ),
    );
    pool[Symbol.dispose]();
    expect(new Set((await Promise.all(results)).slice(-10))).toEqual(new Set(["ended"]));
    await expect(pool.run(JOBS[0] as Job)).rejects.toThrow("have ended");
  });
});

test("the compiled program finds its threads", async () => {
  await using folder = await TemporaryFolder.create();
  await build(folder.at("program"), undefined, "src/data/images/testing/pool-program.ts");
  const names = ["rgb.png", "420.jpg"];
  const files = names.map((name) => join(IMAGES, name));
  const { stdout, ...rest } = await runToEnd([folder.at("program"), ...files], { cwd: folder.path });
  expect(rest).toEqual({ status: 0, stderr: "" });
  const jobs = names.map((name) => runJob({ source: file(name), upright: true, preprocessing }));
  const sums = (await Promise.all(jobs)).map((bytes) => bytes.reduce((sum, value) => sum + value, 0));
  expect(stdout).toBe(sums.map((sum) => `${sum}\n`).join(""));
}, 120_000);
