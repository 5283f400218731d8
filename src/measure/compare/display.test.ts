import { expect, test } from "bun:test";
import type { RunResult } from "./options.ts";
import type { Contender } from "./types.ts";
import type { TrainObserver } from "../../train/types.ts";
import type { TrainSettings } from "../../train/settings/settings.ts";
import { ComparisonDisplay } from "./display.ts";
import { createLog, Screen } from "../../terminal/screen.ts";
import { createStyle } from "../../terminal/style.ts";
import { RecordingStream } from "../../terminal/testing/terminal.ts";

// The display reads names, budgets and seeds alone.
const settings = { seed: 3 } as TrainSettings;
const contender: Contender = { label: "lora+rslora", budget: 20_000, settings };
const RUN = { name: "lora+rslora-seed-3", contender, settings };

const RESULT: RunResult = {
  method: "lora+rslora",
  budget: 2e4,
  seed: 3,
  parameters: 20001,
  steps: 4,
  loss: 1.25,
  valid_loss: 2.5,
  best_valid_loss: 2.5,
  accuracy: null,
  seconds: 2,
  peak_bytes: 1,
  error: null,
};

function display(columns?: number) {
  const stream = new RecordingStream(columns);
  const screen = new Screen(stream);
  const log = createLog(screen, createStyle(stream, {}), { quiet: false, verbose: false });
  const clock = { now: 0 };
  return { stream, clock, shown: new ComparisonDisplay({ screen, log }, () => clock.now) };
}

const started = {
  run: "r",
  step: 0,
  steps: 4,
  epochs: 1,
  unit: "tokens" as const,
  trainableParameters: 1,
  estimatedGpuBytes: 1,
  checkpointing: false,
};

test("on a terminal a bar for the run that trains, and a line for each that is done", () => {
  const { stream, clock, shown } = display(120);
  const run = shown.begin(RUN, 1, 6, (seconds) => 4 * seconds);
  run.start(started);
  for (const step of [1, 2]) {
    clock.now += 500;
    run.step({ step, loss: 2, learning_rate: 1, grad_norm: 1, tokens: 1, seconds: 2 }, { gpuBytes: 1, totalTokens: 1 });
  }
  const first = "5 runs";
  expect(stream.screen).toEqual([
    first,
    "run 2 of 6: lora+rslora, budget 20.0 K, seed 3  ▕██████████          ▏  loss 2.000  0:04 left  0:36 left in all",
  ]);
  shown.end(RESULT, 90);
  shown[Symbol.dispose]();
  expect(stream.screen).toEqual([
    first,
    "lora+rslora, budget 20.0 K, seed 3: loss 1.2500, validation 2.5000, 2.00 s, about 1:30 left",
    "",
  ]);
});

test("elsewhere lines alone; notes of a method once, what diverged and what goes on", () => {
  const { stream, shown } = display();
  shown.stopping();
  for (const step of [0, 2]) {
    const run = shown.begin(RUN, 0, 2, () => 0);
    run.warn("a note");
    run.start({ ...started, step });
  }
  shown.stopping();
  // Then no step is to be finished.
  shown.begin(RUN, 1, 2, () => 0).pause("measuring forgetting", 0, 512);
  shown.stopping();
  shown.end({ ...RESULT, budget: null, loss: null, valid_loss: null, error: "step 2: the loss is NaN" }, undefined);
  shown.note("gone");
  shown.stopping();
  expect(stream.text.trimEnd().split("\n")).toEqual([
    "2 runs",
    "warning: lora+rslora: a note",
    "lora+rslora, budget 20.0 K, seed 3: goes on from step 2",
    "stopping: finishing the step, then saving; once more leaves unsaved",
    "warning: lora+rslora, seed 3: step 2: the loss is NaN",
    "gone",
  ]);
});

test("a line says how long all runs will take, as soon as the first one tells", () => {
  const { stream, shown } = display();
  const run = shown.begin(RUN, 0, 3, (seconds) => 2 * seconds);
  run.start({ ...started, steps: 100 });
  const steps = (run: TrainObserver, seconds: number) => {
    for (let at = 1; at <= 10; at++) {
      const metrics = { step: at, loss: 2, learning_rate: 1, grad_norm: 1, tokens: 1 };
      run.step({ ...metrics, seconds: at === 1 ? 60 : seconds }, { gpuBytes: 1, totalTokens: 1 });
    }
  };
  steps(run, 2);
  shown.end(RESULT, 400);
  // A method that takes as long, and one that does not.
  for (const seconds of [2, 20]) {
    const next = shown.begin(RUN, 1, 3, () => 0);
    next.start({ ...started, steps: 100 });
    steps(next, seconds);
  }
  const estimate = (time: string) => `about ${time} left, if methods that have not run take as long as this one`;
  expect(stream.text.trimEnd().split("\n")).toEqual([
    "3 runs",
    estimate("9:50"), // 95 steps of 2 s, and two runs of 100
    expect.stringContaining("about 6:40 left"),
    estimate("31:40"),
  ]);
});
