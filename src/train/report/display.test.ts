import { describe, expect, test } from "bun:test";
import type { RunStart, StepMetrics } from "../types.ts";
import { createLog, Screen, SILENT } from "../../terminal/screen.ts";
import { createProgress } from "../../terminal/progress.ts";
import { createStyle } from "../../terminal/style.ts";
import { RecordingStream } from "../../terminal/testing/terminal.ts";
import { TrainingDisplay } from "./display.ts";

const RUN: RunStart = {
  run: "runs/tiny-randlora-1",
  step: 0,
  steps: 200,
  epochs: 2,
  unit: "tokens",
  trainableParameters: 12_345,
  estimatedGpuBytes: 3e8,
  checkpointing: false,
};
const MEMORY = { gpuBytes: 2.5e8, totalTokens: 500 };

/** A step of half a second: 1000 tokens a second. */
function step(number: number, loss: number): StepMetrics {
  return { step: number, loss, learning_rate: 1e-4, grad_norm: 1, tokens: 250, seconds: 0.5 };
}

/** A display on a terminal of so many columns, or on a pipe, with a clock that is moved by hand. */
function display(columns?: number) {
  const stream = new RecordingStream(columns);
  const screen = new Screen(stream);
  const clock = { now: 0 };
  const surface = {
    screen,
    log: createLog(screen, createStyle(stream, {}), { quiet: false, verbose: false }),
    progress: (spec: Parameters<typeof createProgress>[1]) => createProgress(screen, spec, () => clock.now),
  };
  return { stream, clock, shown: new TrainingDisplay(surface, () => clock.now) };
}

describe("on a terminal", () => {
  test("one live line: step, mean loss, time left, speed, learning rate, memory, validation", () => {
    const { stream, clock, shown } = display(120);
    shown.start(RUN);
    shown.evaluation({ step: 0, valid_loss: 3.25 }, true);
    for (let i = 1; i <= 50; i++) {
      clock.now += 500;
      shown.step(step(i, i % 2 === 0 ? 2 : 3), MEMORY);
    }
    expect(stream.screen.slice(0, 3)).toEqual([
      "training 12.3 K parameters into runs/tiny-randlora-1",
      "200 steps, 2 epochs; about 300 MB of device memory",
      "step 0: validation loss 3.2500",
    ]);
    expect(stream.screen.at(-1)).toBe(
      "step 50 of 200  ▕█████               ▏  loss 2.500  1:15 left  1,000 tokens/s  lr 0.0001  250 MB  valid 3.250",
    );
  });

  test("moves while it validates and saves, and knows what validations take", () => {
    const { stream, clock, shown } = display(120);
    shown.start({ ...RUN, validateEvery: 100 });
    const validate = (number: number) => {
      for (const done of [0, 1]) {
        shown.pause("validating", done, 2);
        clock.now += 10_000;
      }
      expect(stream.screen.at(-1)).toContain("validating 1 of 2");
      shown.evaluation({ step: number, valid_loss: 3 }, false);
    };
    validate(0);
    for (let i = 1; i <= 100; i++) shown.step(step(i, 2), MEMORY);
    shown.pause("saving", 0, 1);
    expect(stream.screen.at(-1)).toContain("saving");
    shown.saved(100);
    validate(100);
    shown.step(step(101, 2), MEMORY);
    clock.now += 500;
    shown.step(step(102, 2), MEMORY);
    // 98 steps of half a second, and the validation at the end.
    expect(stream.screen.at(-1)).toContain("1:09 left");
  });

  test("a narrow one keeps what tells most, and is left clean", () => {
    const { stream, clock, shown } = display(60);
    shown.start({ ...RUN, step: 40, checkpointing: true });
    clock.now += 500;
    shown.step(step(41, 2), MEMORY);
    expect(stream.screen.at(-1)).toBe("step 41 of 200  ▕████▏               ▏  loss 2.000");
    shown[Symbol.dispose]();
    expect(stream.screen).toEqual([
      "training 12.3 K parameters into runs/tiny-randlora-1",
      "200 steps, 2 epochs, from step 40 on; about 300 MB of device",
      "memory, activations recomputed",
      "",
    ]);
  });

  test("of a run on images counts those, and says how many are told right", () => {
    const { stream, clock, shown } = display(80);
    shown.start({ ...RUN, unit: "images" });
    clock.now += 500;
    shown.step(step(1, 2), { ...MEMORY, totalTokens: 16 });
    expect(stream.screen.at(-1)).toContain("32 images/s");
    shown.evaluation({ step: 1, valid_loss: 0.5, valid_accuracy: 0.8125 }, true);
    expect(stream.screen.at(-2)).toBe("step 1: validation loss 0.5000, the lowest so far; accuracy 81.25 %");
  });

  test("answers a request to stop while it trains", () => {
    const { stream, shown } = display(80);
    shown.stopping();
    shown.start(RUN);
    shown.stopping();
    shown[Symbol.dispose]();
    shown.stopping();
    expect(stream.text.match(/stopping: .*/g)).toEqual([
      "stopping: finishing the step, then saving; once more leaves unsaved",
    ]);
  });

  test("of a run that has all its steps says that", () => {
    const { stream, shown } = display(60);
    shown.start({ ...RUN, step: 200 });
    shown[Symbol.dispose]();
    expect(stream.screen).toEqual(["runs/tiny-randlora-1: all of its 200 steps are done already", ""]);
  });

  test("is drawn at most ten times a second", () => {
    const { stream, clock, shown } = display(80);
    shown.start(RUN);
    const before = stream.writes.length;
    for (let i = 1; i <= 100; i++) {
      clock.now += 10;
      shown.step(step(i, 2), MEMORY);
    }
    expect(stream.writes.length - before).toBe(10);
  });
});

describe("elsewhere", () => {
  test("rows: the first step, every twentieth part, the last, with the mean loss since the row before", () => {
    const { stream, shown } = display();
    shown.start({ ...RUN, steps: 40 });
    for (let i = 1; i <= 40; i++) shown.step(step(i, i), MEMORY);
    shown[Symbol.dispose]();
    const rows = stream.text.trimEnd().split("\n").slice(2);
    expect(rows).toHaveLength(21);
    expect(rows[0]).toBe("step 1 of 40  loss 1.0000  1,000 tokens/s  lr 0.0001  250 MB");
    expect(rows[1]).toBe("step 3 of 40  loss 2.5000  1,000 tokens/s  lr 0.0001  250 MB  0:19 left");
    expect(rows.at(-1)).toBe("step 40 of 40  loss 40.0000  1,000 tokens/s  lr 0.0001  250 MB");
    expect(stream.text).not.toContain("\r");
  });

  test("slow steps get a row after half a minute", () => {
    const { stream, clock, shown } = display();
    shown.start({ ...RUN, steps: 1000 });
    for (let i = 1; i <= 4; i++) {
      clock.now += 20_000;
      shown.step(step(i, 2), MEMORY);
    }
    expect(stream.text.match(/step \d+ of/g)).toEqual(["step 1 of", "step 3 of"]);
  });

  test("evaluations say what became of the loss; warnings are shown", () => {
    const { stream, shown } = display();
    shown.evaluation({ step: 0, valid_loss: 3 }, true);
    shown.evaluation({ step: 100, valid_loss: 2.5 }, true);
    shown.evaluation({ step: 200, valid_loss: 2.75 }, false);
    shown.warn("careful");
    expect(stream.text).toBe(
      "step 0: validation loss 3.0000\n" +
        "step 100: validation loss 2.5000, the lowest so far\n" +
        "step 200: validation loss 2.7500, rising\n" +
        "warning: careful\n",
    );
  });
});

test("under --quiet only warnings are left", () => {
  const stream = new RecordingStream(80);
  const screen = new Screen(stream);
  const log = createLog(screen, createStyle(stream, { NO_COLOR: "1" }), { quiet: true, verbose: false });
  const silent = { add() {}, label() {}, close() {}, [Symbol.dispose]() {} };
  const shown = new TrainingDisplay({ screen: SILENT, log, progress: () => silent });
  shown.loading(1, 2);
  shown.start(RUN);
  shown.step(step(1, 2), MEMORY);
  shown.evaluation({ step: 1, valid_loss: 2 }, true);
  shown.warn("careful");
  expect(stream.text).toBe("warning: careful\n");
});
