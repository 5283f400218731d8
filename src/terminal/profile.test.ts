import { expect, test } from "bun:test";
import { join } from "node:path";
import { peakRssBytes } from "./profile.ts";

test("the peak is no less than what is resident now", () => {
  const touched = new Uint8Array(96e6).fill(1);
  expect(peakRssBytes()).toBeGreaterThan(touched.length);
  expect(peakRssBytes()).toBeGreaterThanOrEqual(process.memoryUsage().rss * 0.95);
});

test("a small process started by a large one counts its own memory", () => {
  const ballast = new Uint8Array(300e6).fill(1);
  const code = `import { peakRssBytes } from "./profile.ts"; process.stdout.write(String(peakRssBytes()));`;
  const child = Bun.spawnSync([process.execPath, "-e", code], { cwd: join(import.meta.dir) });
  expect(Number(child.stdout.toString())).toBeLessThan(ballast.length);
});
