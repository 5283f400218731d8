import { expect, test } from "bun:test";
import { Crew } from "./crew.ts";
import { Heaps } from "./heap.ts";

/** Starts two workers of another program. */
const start = (name: string, patience?: number) =>
  Crew.start({
    heaps: new Heaps({ reserved: 2 ** 16, bytes: 2 ** 22 }),
    scratch: [64, 128],
    profile: false,
    program: new URL(`./testing/${name}.ts`, import.meta.url).href,
    ...(patience !== undefined && { patience }),
  });

test("workers that never answer are an error, not a device that never opens", async () => {
  await expect(start("silent-worker", 200)).rejects.toMatchObject({
    code: "gpu",
    message: "the CPU device cannot start: its 2 workers were not ready after 0.2 s",
    hint: expect.stringContaining("--threads"),
  });
});

test("a worker that ends before it is told to is an error at once", async () => {
  await expect(start("ending-worker")).rejects.toMatchObject({
    code: "gpu",
    message: "a worker of the CPU device failed: it ended",
  });
});
