// What the tests of training share: a small model, a little data, a run that is recorded.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import { TEST_DEVICE } from "../../compute/device/testing/open.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import type { MicroBatch } from "../../data/text/samples/types.ts";
import { loadRunData } from "../text/data.ts";
import { finetune } from "../loop/finetune.ts";
import { type AskedSettings, resolveSettings } from "../settings/resolve-settings.ts";
import { RunFolder } from "../run/run-folder.ts";
import type { TrainSettings } from "../settings/settings.ts";
import { textSubject } from "../text/model.ts";
import type { RunInput } from "../loop/training.ts";
import type { TrainResult } from "../result.ts";
import type { Metrics, Pause, RunStart, TrainObserver } from "../types.ts";

const TEXTS = [
  "Once upon a time there was a little cat.",
  "The cat had a red ball, and the ball was big.",
  "Tom and Sue went to the park to play.",
  "It was a sunny day.",
  "Mom said: do not run so fast!",
  "The dog ran away and hid under the tree.",
  "They were very happy and went home.",
  "The end.",
];

/** Writes a data file of `count` short texts; others with another `first`. */
export async function writeTexts(path: string, count: number, first = 0): Promise<string> {
  const lines = Array.from({ length: count }, (_, i) => {
    const text = `${TEXTS[(first + i) % TEXTS.length]} ${TEXTS[(first + i * 3 + 1) % TEXTS.length]}`;
    return JSON.stringify({ text });
  });
  await writeFile(path, `${lines.join("\n")}\n`);
  return path;
}

/** Everything that an observer was told. */
export class Recording implements TrainObserver {
  readonly warnings: string[] = [];
  readonly metrics: Metrics[] = [];
  readonly saves: number[] = [];
  readonly pauses: string[] = [];
  started: RunStart | undefined;
  /** Called after each step. */
  onStep: (step: number) => void = () => {};

  warn(message: string): void {
    this.warnings.push(message);
  }
  loading(): void {}
  start(run: RunStart): void {
    this.started = run;
  }
  step(metrics: Metrics): void {
    this.metrics.push(metrics);
    this.onStep(metrics.step);
  }
  pause(what: Pause, done: number, total: number): void {
    this.pauses.push(`${what} ${done}/${total}`);
  }
  evaluation(metrics: Metrics): void {
    this.metrics.push(metrics);
  }
  saved(step: number): void {
    this.saves.push(step);
  }

  /** The validation loss before the first step. */
  get firstLoss(): number {
    const [first] = this.metrics;
    return first !== undefined && "valid_loss" in first ? first.valid_loss : NaN;
  }

  /** Losses of steps, in their order. */
  get losses(): number[] {
    return this.metrics.flatMap((line) => ("loss" in line ? [line.loss] : []));
  }
}

/** Settings for the small model. */
export async function settingsFor(asked: Partial<AskedSettings> & { data: string }): Promise<TrainSettings> {
  const model = asked.model ?? STORIES;
  const { architecture, contextLength } = await loadConfig(model);
  return resolveSettings({ model, ...asked }, { modelType: architecture, contextLength });
}

/** Settings of a short run: 6 steps, 2 micro-batches each, evaluated every third. */
export function shortRun(asked: Partial<AskedSettings> & { data: string }): Promise<TrainSettings> {
  const common = { batchSize: 2, gradAccum: 2, steps: 6, saveEvery: 2, evalEvery: 3, learningRate: 5e-3 };
  return settingsFor({ ...common, ...(asked.method === "full" ? {} : { rank: 8 }), ...asked });
}

/** Settings, location and data as `finetune` wants them. */
export async function inputFor(settings: TrainSettings): Promise<RunInput<MicroBatch>> {
  const { data } = await loadRunData(settings, settings.model);
  return {
    settings,
    location: { folder: settings.model, weights: undefined },
    subject: textSubject(data),
    device: TEST_DEVICE,
  };
}

/** Trains into a new folder `out`, or goes on with the run that is there. */
export async function trainInto(
  out: string,
  settings: TrainSettings,
  recording = new Recording(),
  signal = new AbortController().signal,
  gpu?: RunInput<MicroBatch>["gpu"],
): Promise<{ result: TrainResult; recording: Recording }> {
  const isThere = await Bun.file(join(out, "run.json")).exists();
  await using folder = isThere ? (await RunFolder.open(out)).folder : await RunFolder.create(out, settings);
  const result = await finetune({ ...(await inputFor(settings)), folder, gpu }, recording, signal);
  return { result, recording };
}

/** Every file of a run that must not depend on interruptions, by name; metrics without their times. */
export async function outcomeOf(run: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const name of (await readdir(run, { recursive: true })).toSorted()) {
    if (!(await Bun.file(join(run, name)).exists())) continue;
    if (name === "metrics.jsonl") {
      files[name] = (await readFile(join(run, name), "utf8")).replaceAll(/,"(?:seconds|time)":[^}]*/g, "");
    } else if (name === "metrics.csv") {
      const rows = (await readFile(join(run, name), "utf8")).split("\n").map((row) => row.split(","));
      files[name] = rows.map((row) => row.toSpliced(8).toSpliced(5, 1).join(",")).join("\n");
    } else if (name !== "run.json") {
      files[name] = new Bun.CryptoHasher("sha256").update(await readFile(join(run, name))).digest("hex");
    }
  }
  return files;
}
