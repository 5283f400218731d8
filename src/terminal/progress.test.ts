import { describe, expect, test } from "bun:test";
import { createLog, Screen } from "./screen.ts";
import { createProgress, ModulesBar, type ProgressSpec, silentProgress } from "./progress.ts";
import { createStyle } from "./style.ts";
import { RecordingStream } from "./testing/terminal.ts";

const spec: ProgressSpec = { title: "merging", bytes: 200e6, items: 100, unit: "tensors" };

function start(stream: RecordingStream, what: ProgressSpec = spec) {
  const clock = { now: 0 };
  const screen = new Screen(stream);
  return { clock, screen, progress: createProgress(screen, what, () => clock.now) };
}

describe("on a terminal", () => {
  test("shows share, time left, bytes, items, rate and what is being worked on", () => {
    const stream = new RecordingStream(160);
    const { clock, progress } = start(stream);
    clock.now = 10_000;
    progress.label("model.layers.3.mlp.up_proj.weight");
    progress.add({ bytes: 50e6, items: 25 });
    clock.now = 10_100;
    progress.add({});
    expect(stream.screen).toEqual([
      "merging  ▕█████               ▏  25 %  0:30 left  50.0 MB of 200 MB  25 of 100 tensors  4.95 MB/s  model.layers.3.mlp.up_proj.weight",
    ]);
  });

  test("that is dumb gets rows as a file does", () => {
    const stream = new RecordingStream(100);
    const clock = { now: 0 };
    const progress = createProgress(new Screen(stream, { TERM: "dumb" }), spec, () => clock.now);
    clock.now = 2000;
    progress.add({ bytes: 100e6, items: 50 });
    progress.close();
    expect(stream.writes.join("")).toMatch(/^(merging: [^\p{Cc}]*\n)+$/u);
  });

  test("a label from a file steers nothing", () => {
    const stream = new RecordingStream(200);
    const { clock, progress } = start(stream);
    clock.now = 100;
    progress.label("w\x1b[2Je\x9bA\nt");
    expect(stream.writes.join("")).toContain("w␛[2Je\uFFFDA␊t");
  });

  test("draws at most ten times a second", () => {
    const stream = new RecordingStream(100);
    const { clock, progress } = start(stream);
    for (clock.now = 0; clock.now < 2000; clock.now += 1) progress.add({ bytes: 1000 });
    expect(stream.writes.length).toBeGreaterThan(10);
    expect(stream.writes.length).toBeLessThanOrEqual(21);
  });

  test.each([20, 30, 40, 60, 80])("stays within %p columns", (columns) => {
    const stream = new RecordingStream(columns);
    const { clock, progress } = start(stream);
    clock.now = 3000;
    progress.label("model.layers.埋め込み.mlp.up_proj.weight");
    progress.add({ bytes: 123e6, items: 61 });
    clock.now = 4000;
    progress.add({});
    const [line = ""] = stream.screen;
    expect(line).toStartWith("merging");
    expect(Bun.stringWidth(line)).toBeLessThan(columns);
  });

  test("leaves nothing behind, and notes scroll above it", () => {
    const stream = new RecordingStream(80);
    const { clock, screen, progress } = start(stream);
    screen.line("a note");
    expect(stream.screen).toEqual(["a note", expect.stringContaining("0 %")]);
    clock.now = 500;
    progress.add({ bytes: 1e6 });
    progress.close();
    progress.add({ bytes: 1e6 });
    expect(stream.screen).toEqual(["a note", ""]);
  });
});

describe("elsewhere", () => {
  test("one plain row for each tenth, and one at the end", () => {
    const stream = new RecordingStream();
    const { clock, progress } = start(stream);
    for (let item = 0; item < 100; item++) {
      clock.now += 100;
      progress.label("x");
      progress.add({ bytes: 2e6, items: 1 });
    }
    progress.close();
    const rows = stream.text.trimEnd().split("\n");
    expect(rows).toHaveLength(10);
    expect(rows[0]).toBe("merging:  10 %  20.0 MB of 200 MB  10 of 100 tensors  20.0 MB/s");
    expect(rows.at(-1)).toBe("merging:  100 %  200 MB of 200 MB  100 of 100 tensors  20.0 MB/s");
    for (const control of ["\r", "\x1b"]) expect(stream.text).not.toContain(control);
  });

  test("nothing for work that takes less than a second", () => {
    const stream = new RecordingStream();
    const { clock, progress } = start(stream);
    for (let item = 0; item < 100; item++) {
      clock.now += 9;
      progress.add({ bytes: 2e6, items: 1 });
    }
    progress.close();
    expect(stream.text).toBe("");
  });

  test("work of unknown size, and none at all", () => {
    const stream = new RecordingStream();
    const { clock, progress } = start(stream, { title: "drawing" });
    for (const step of [4000, 4000, 4000]) {
      clock.now += step;
      progress.add({ items: 5 });
    }
    progress.close();
    expect(stream.text).toBe("drawing:  15 items\ndrawing:  15 items\n");
    const empty = new RecordingStream();
    const slow = start(empty, { title: "merging", bytes: 0 });
    slow.clock.now = 1000;
    slow.progress.close();
    expect(empty.text).toBe("merging:  100 %  0 B of 0 B\n");
  });
});

test("quiet progress accepts everything", () => {
  using progress = silentProgress();
  progress.add({ items: 1 });
  progress.label("x");
  progress.close();
});

test("the log keeps to its level", () => {
  const lines = (level: { quiet: boolean; verbose: boolean }): string => {
    const stream = new RecordingStream();
    const log = createLog(new Screen(stream), createStyle(stream, {}), level);
    log.info("info");
    log.warn("careful");
    log.verbose("detail");
    return stream.text;
  };
  expect(lines({ quiet: false, verbose: false })).toBe("info\nwarning: careful\n");
  expect(lines({ quiet: true, verbose: false })).toBe("warning: careful\n");
  expect(lines({ quiet: false, verbose: true })).toBe("info\nwarning: careful\ndetail\n");
});

test("color on a terminal only, never under NO_COLOR", () => {
  const terminal = new RecordingStream(80);
  expect(createStyle(terminal, {}).red("x")).toBe("\x1b[31mx\x1b[39m");
  expect(createStyle(terminal, { NO_COLOR: "" }).red("x")).toBe("\x1b[31mx\x1b[39m");
  expect(createStyle(terminal, { NO_COLOR: "1" }).red("x")).toBe("x");
  expect(createStyle(terminal, { TERM: "dumb" }).red("x")).toBe("x");
  expect(createStyle(new RecordingStream(), {}).red("x")).toBe("x");
});

test("modules of different size are counted, and their operations tell how long it will take", () => {
  const stream = new RecordingStream(100);
  const clock = { now: 0 };
  const progress = (spec: ProgressSpec) => createProgress(new Screen(stream), spec, () => clock.now);
  using bar = new ModulesBar({ progress }, "singular values", { modules: 2, operations: 4e9 });
  bar.module("small");
  bar.work(1e9);
  bar.module("large");
  clock.now = 4000;
  bar.work(0);
  expect(stream.screen.join("")).toMatch(/ 25 %  0:12 left  2 of 2 modules  large$/);
});
