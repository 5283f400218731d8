import { expect, test } from "bun:test";
import { type Display, showingDownloads } from "./report.ts";
import { resolveModel } from "./resolve.ts";
import { Fixture, MODEL_FILES, WEIGHTS } from "./testing/fixture.ts";

class Recorder implements Display {
  readonly signal = new AbortController().signal;
  readonly warnings: string[] = [];
  readonly bars: {
    title: string;
    total: number;
    items: number;
    bytes: number;
    done: number;
    labels: Set<string>;
    open: boolean;
  }[] = [];
  readonly log = { warn: (line: string): void => void this.warnings.push(line) };

  progress({ title, bytes, items }: { title: string; bytes: number; items: number }) {
    const bar = { title, total: bytes, items, bytes: 0, done: 0, labels: new Set<string>(), open: true };
    this.bars.push(bar);
    return {
      add: (more: { bytes: number; items: number }): void => {
        expect(more.bytes).toBeGreaterThanOrEqual(0);
        bar.bytes += more.bytes;
        bar.done += more.items;
      },
      label: (text: string): void => void bar.labels.add(text),
      close: (): void => void (bar.open = false),
    };
  }
}

test("shows one bar a repository and ends it at the total", async () => {
  await using fixture = await Fixture.start({
    "org/other": { revisions: { main: { ...MODEL_FILES, "config.json": "{}" } } },
  });
  fixture.hub.faults.push(
    { match: new RegExp(`cdn:/${WEIGHTS}`), times: 1, dropAfter: 50_000 },
    { match: new RegExp(`cdn:/${WEIGHTS}`), times: 1, noRanges: true },
  );
  const settings = fixture.settings();
  const display = new Recorder();
  await showingDownloads(display, async (options) => {
    await resolveModel({ repo: "org/model", revision: "main" }, { ...options, settings });
    await resolveModel({ repo: "org/other", revision: "main" }, { ...options, settings });
    return await resolveModel({ repo: "org/model", revision: "main" }, { ...options, settings });
  });
  expect(display.bars).toMatchObject([
    { title: "fetching org/model", total: 320_062, bytes: 320_062, items: 6, done: 6, open: false },
    { title: "fetching org/other", total: 320_040, bytes: 320_040, items: 6, done: 6, open: false },
  ]);
  expect(display.bars[0]?.labels).toContain("model.safetensors");
});

test("passes warnings on, and closes the bar when the download fails", async () => {
  await using fixture = await Fixture.start();
  const display = new Recorder();
  fixture.hub.faults.push({ match: /cdn:/, status: 418 });
  const name = { repo: "org/model", revision: "main" };
  const work = showingDownloads(display, (options) => resolveModel(name, { ...options, settings: fixture.settings() }));
  await expect(work).rejects.toThrow("status 418");
  expect(display.bars.map(({ open }) => open)).toEqual([false]);

  fixture.hub.faults.length = 0;
  await resolveModel(name, { settings: fixture.settings() });
  const gone = fixture.settings({ endpoint: "http://127.0.0.1:9" });
  await showingDownloads(display, (options) => resolveModel(name, { ...options, settings: gone }));
  expect(display.warnings).toHaveLength(1);
});
