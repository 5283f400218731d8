import { rm } from "node:fs/promises";
import { join } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import type { ModelLocation } from "../../models/folder/locate.ts";
import { finetune } from "../../train/loop/finetune.ts";
import type { KeptGpu } from "../../train/loop/kept-gpu.ts";
import { SETTINGS_FILE } from "../../files/run-names.ts";
import { RunFolder } from "../../train/run/run-folder.ts";
import { baseHashes, refuseOtherBase, refuseOtherData, type SourceHashes } from "../../train/model/same-sources.ts";
import { isOwn, type Job } from "../../terminal/options/shared/job.ts";
import { RUN_OPTIONS } from "../../train/settings/options.ts";
import { changeable } from "../../train/settings/resume-settings.ts";
import { formatSettings, type TrainSettings } from "../../train/settings/settings.ts";
import type { Subject } from "../../train/model/subject.ts";
import type { TrainResult } from "../../train/result.ts";
import type { Metrics, TrainObserver } from "../../train/types.ts";
import type { ComparisonFolder } from "./folder.ts";
import { isOf, measure, metricsOf, RunTimes, tampered, verified, drawByBase, forgettingOfRun } from "./measure.ts";
import { plannedRuns } from "./plan.ts";
import type { ComparisonRecord } from "./record.ts";
import type { RunResult } from "./options.ts";
import type { Contender, DrawnByBase, FailedRun, PlannedRun } from "./types.ts";

/** What a run is trained on. */
export interface RunData<Batch> {
  readonly subject: Subject<Batch>;
  /** Parameters of a head that is trained beside whatever the method trains. */
  readonly headParameters: number;
}

/** What runs take from their surroundings. */
export interface CompareInput<Batch> {
  readonly folder: ComparisonFolder;
  readonly record: ComparisonRecord;
  /** Which of the runs to make, where tasks of a job array share them; all by default. */
  readonly job?: Job | undefined;
  /** Where the model is on this machine. */
  readonly location: ModelLocation;
  readonly gpu: KeptGpu;
  /** Settings with the names of data as paths on this machine, and what a resumed comparison may change. */
  local(settings: TrainSettings): TrainSettings;
  /** The data of a run; those of another seed may be split otherwise. */
  load(settings: TrainSettings): Promise<RunData<Batch>>;
}

/** Told what happens. */
export interface CompareObserver {
  /**
   * A run begins, or goes on.
   * @param index from 0, of `total`
   * @param afterwards what the runs after it will take, in seconds, if it takes so many
   */
  begin(run: PlannedRun, index: number, total: number, afterwards: (seconds: number) => number): TrainObserver;
  /**
   * It is done, or could not be brought to its end.
   * @param left what the runs that are left will take, in seconds; undefined after the last one
   */
  end(result: RunResult, left: number | undefined): void;
  /** Something that the user should know: one line. */
  note(line: string): void;
}

/**
 * Makes the runs that are missing, one after the other, and records each when it is done. Of several tasks the last one to be
 * done records all of them. A run that fails, for whatever reason, has no numbers, and the others go on. What diverged is
 * recorded; what failed otherwise is made again another time.
 *
 * @returns what there is when all are done, or the signal came: the run is then saved, and goes on another time
 * @throws RandloraError `format` for a finished run whose files are not what they were; `data` and `model` before any run
 *   where those are not what the comparison began with; what the first run threw, where all fail
 */
export async function compare<Batch>(
  input: CompareInput<Batch>,
  observer: CompareObserver,
  signal: AbortSignal,
): Promise<{ readonly record: ComparisonRecord; readonly failed: readonly FailedRun[] }> {
  const { folder, job } = input;
  const failed: FailedRun[] = [];
  let record = await verified({ folder, record: await folder.collected(input.record) }, observer);
  const runs = plannedRuns(record.comparison);
  const times = new RunTimes();
  const isDone = (run: PlannedRun) => record.results.some((result) => isOf(result, run));
  const own = runs.filter((_, index) => job === undefined || isOwn(job, index));
  // One that could not be measured is tried again.
  const lacks = ({ error, forgetting = null }: RunResult) => error === null && forgetting === null;
  const isLacking = job === undefined && record.comparison.forgetting > 0 && record.results.some(lacks);
  const isOpen = isLacking || !own.every(isDone);
  if (isOpen) {
    record = { ...record, sources: await sourcesOf(input, signal) };
    if (job === undefined) await folder.write(record);
  }
  const drawn = isOpen ? await drawByBase(input, observer, signal) : undefined;
  for (const run of drawn !== undefined && isLacking ? own : []) {
    const result = record.results.find((one) => isOf(one, run));
    if (drawn === undefined || result === undefined || !lacks(result) || signal.aborted) continue;
    const noting = { warn: (line: string) => observer.note(`${run.name}: ${line}`), pause() {} };
    const found = await forgettingOfRun(drawn, run, input, noting, signal);
    record = { ...record, results: record.results.map((one) => (one === result ? { ...one, ...found } : one)) };
    await folder.write(record);
  }
  for (const [index, run] of own.entries()) {
    if (signal.aborted) break;
    if (isDone(run)) continue;
    const { results } = record;
    const { label: method, budget } = run.contender;
    const afterwards = (seconds: number) =>
      times.left(own, [...results, { method, budget, seed: run.settings.seed, seconds }]) ?? 0;
    times.begin();
    const watching = observer.begin(run, index, own.length, afterwards);
    const result = await make(run, input, drawn, watching, signal).catch((thrown: unknown) => {
      if (signal.aborted) throw thrown;
      const message = thrown instanceof Error ? thrown.message : String(thrown);
      const result = resultOf(run, [], undefined, message);
      failed.push({ result, thrown });
      return result;
    });
    if (result === undefined) break;
    times.end(run);
    if (failed.at(-1)?.result !== result) {
      record = { ...record, results: [...results, result] };
      if (job === undefined) await folder.write(record);
      else await folder.putResult(run.name, result);
    }
    const others = own.filter((other) => !failed.some(({ result }) => isOf(result, other)));
    observer.end(result, times.left(others, record.results));
  }
  if (failed[0] !== undefined && record.results.length === 0) throw failed[0].thrown;
  record = await folder.collected(record);
  // Another task may have put all results together, and removed what it found them in.
  if (job !== undefined && !runs.every(isDone))
    record = await folder.collected({ ...record, ...(await folder.read()) });
  if (job !== undefined) record = await verified({ folder, record }, observer);
  if (runs.every(isDone)) {
    await folder.write(record);
    await folder.removeResults();
  }
  return { record, failed };
}

/**
 * What tells the base and the data of the first run from others; those of later seeds are made of the same files.
 * @throws RandloraError `data`, `model` where the comparison began with others
 */
export async function sourcesOf<Batch>(
  input: Omit<CompareInput<Batch>, "folder">,
  signal: AbortSignal,
): Promise<SourceHashes> {
  const { record, location } = input;
  const [first] = plannedRuns(record.comparison);
  if (first === undefined) throw new TypeError("a comparison of nothing");
  const settings = input.local(first.settings);
  const { subject } = await input.load(settings);
  const hashes = subject.dataHashes();
  if (record.sources !== undefined) refuseOtherData(record.sources, hashes, settings, "comparison");
  await using source = await subject.open(settings, location, { signal });
  const base = await baseHashes(source, location);
  if (record.sources !== undefined) refuseOtherBase(record.sources, base, settings, "comparison");
  return { ...hashes, ...base };
}

/** @returns undefined for a run that was interrupted */
async function make<Batch>(
  run: PlannedRun,
  input: CompareInput<Batch>,
  drawn: DrawnByBase | undefined,
  observer: TrainObserver,
  signal: AbortSignal,
): Promise<RunResult | undefined> {
  const { folder: parent, location, gpu } = input;
  const path = parent.run(run.name);
  const settings = input.local(run.settings);
  const { subject, headParameters } = await input.load(settings);
  await using folder = await openRun(path, run, { ...settings, sampleFormat: subject.sampleFormat });
  let result: TrainResult;
  try {
    result = await finetune({ settings, location, subject, folder, gpu }, observer, signal);
  } catch (thrown) {
    await folder.discardUnused();
    if (!(thrown instanceof RandloraError) || thrown.code !== "numeric") {
      gpu.letGo();
      throw thrown;
    }
    return resultOf(run, await metricsOf(parent, run), undefined, thrown.message);
  }
  if (result.ending === "interrupted") return undefined;
  const trained = { ...result, trainableParameters: result.trainableParameters - headParameters };
  const done = resultOf(run, await metricsOf(parent, run), trained, null);
  if (drawn === undefined) return done;
  const forgotten = await forgettingOfRun(drawn, run, input, observer, signal);
  return forgotten && { ...done, ...forgotten };
}

/** The run's folder: a new one, or that of a process that was stopped. */
async function openRun(path: string, run: PlannedRun, settings: TrainSettings): Promise<RunFolder> {
  const file = join(path, SETTINGS_FILE);
  // run.json records names, not where they are on this machine.
  const recorded = { ...run.settings, ...changed(settings) };
  if (!(await Bun.file(file).exists())) {
    // A process may have been killed while it wrote it.
    await rm(`${file}.part`, { force: true });
    return await RunFolder.create(path, recorded);
  }
  const { folder, settings: found } = await RunFolder.open(path);
  try {
    refuseOther(path, found, run.settings);
    await folder.writeSettings(recorded);
    return folder;
  } catch (thrown) {
    await folder[Symbol.asyncDispose]();
    throw thrown;
  }
}

/** What a run's own run.json may say otherwise than the comparison's. */
function changed({ sampleFormat, ...settings }: TrainSettings): Partial<TrainSettings> {
  return { ...changeable(RUN_OPTIONS, settings, "comparison"), sampleFormat };
}

function refuseOther(path: string, found: TrainSettings, planned: TrainSettings): void {
  const [own, wanted] = [found, planned].map((settings) => formatSettings({ ...settings, ...changed(planned) }));
  const key = Object.keys(wanted ?? {}).find((one) => JSON.stringify(own?.[one]) !== JSON.stringify(wanted?.[one]));
  if (key !== undefined) throw tampered(path, `"${key}" of its ${SETTINGS_FILE} is not that of the comparison`);
}

function resultOf(
  { contender, settings }: PlannedRun,
  metrics: readonly Metrics[],
  result: Pick<TrainResult, "trainableParameters" | "estimatedGpuBytes"> | undefined,
  error: string | null,
): RunResult {
  const { label: method, budget }: Contender = contender;
  const measured = measure(metrics);
  // What came before it failed is no result.
  const none = { loss: null, valid_loss_before: null, valid_loss: null, best_valid_loss: null, accuracy: null };
  const found = error === null ? measured : { ...measured, ...none };
  return {
    method,
    budget,
    seed: settings.seed,
    parameters: result?.trainableParameters ?? null,
    ...found,
    // Not what was measured: that differs by some bytes with the moments of reads, and where a run was resumed.
    peak_bytes: result?.estimatedGpuBytes ?? null,
    error,
  };
}
