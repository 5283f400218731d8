import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { overlaid } from "../../compute/device/owned.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { firstThenOthers, type Processes } from "../../mpi/processes.ts";
import { newestState } from "../../models/folder/run-states.ts";
import type { Context } from "../../terminal/options/command.ts";
import { shared } from "../../terminal/options/shared-work.ts";
import { peakRssBytes } from "../../terminal/profile.ts";
import { refuseOtherSettings } from "../loop/agreement.ts";
import { estimateRun, finetune } from "../loop/finetune.ts";
import type { TrainingInput } from "../loop/training.ts";
import { withOwnAdapter } from "../model/init-adapter.ts";
import { refuseShorter } from "../model/subject.ts";
import { TrainingDisplay } from "../report/display.ts";
import { eventFile, refuseOtherEvents } from "../run/metrics.ts";
import { newestRun, RunFolder } from "../run/run-folder.ts";
import type { FinetuneOptions } from "../settings/options.ts";
import { resumeSettings } from "../settings/resume-settings.ts";
import type { FlatSettings, TrainSettings } from "../settings/settings.ts";
import type { TrainReport } from "../report/train-report.ts";
import type { TrainResult } from "../result.ts";
import type { TrainObserver } from "../types.ts";
import { type Loaded, loadImages, loadTexts } from "./load-data.ts";
import { askedSettings, findSources, newSettings, type RunSources } from "./settings.ts";
import { showRun, sizeOfChange } from "./show-run.ts";

/**
 * Trains an adapter, or a whole model, in a new run or in one that goes on; or estimates what that takes.
 * @param watch told of the run as well as whoever looks at the screen
 */
export async function finetuneModel(
  model: string | undefined,
  options: FinetuneOptions,
  context: Context<TrainReport>,
  watch: Partial<TrainObserver> = {},
): Promise<void> {
  await shared(context, {}, (processes, own) => finetuneTogether(model, options, { processes, ...own }, watch));
}

/** The same on each of the processes that share the run. */
async function finetuneTogether(
  model: string | undefined,
  options: FinetuneOptions,
  context: RunContext,
  watch: Partial<TrainObserver>,
): Promise<void> {
  const asked = askedSettings(model, options);
  await using resources = new AsyncDisposableStack();
  // The others find in the cache what the first one fetches.
  const planned = await firstThenOthers(context.processes, () =>
    options.resume === undefined ? newRun(asked, context) : oldRun(asked, options, context),
  );
  if (planned.began !== undefined) resources.use(planned.began.folder);
  await refuseOtherSettings(context.processes, planned.settings);
  // It began when the first one says so.
  const [date = null] = await context.processes.each(planned.settings.date);
  const local = { ...planned.sources.local, date };
  const run = { ...planned, settings: { ...planned.settings, date }, sources: { ...planned.sources, local } };
  if (run.settings.images === null) {
    await proceed(run, resources.use(await loadTexts(run.sources, context)), options, context, watch);
  } else {
    await proceed(run, resources.use(await loadImages(run.sources, context)), options, context, watch);
  }
}

/** A run that will be made, or gone on with. */
interface PlannedRun {
  readonly settings: TrainSettings;
  readonly sources: RunSources;
  /** Of one that is gone on with: its folder, and the settings there. */
  readonly began?: { readonly folder: RunFolder; readonly recorded: TrainSettings };
}

/** With the processes that share the run. */
interface RunContext extends Context {
  readonly processes: Processes;
}

async function newRun(asked: Partial<FlatSettings>, context: RunContext): Promise<PlannedRun> {
  const { size } = context.processes;
  if (asked.shards === undefined && !Number.isInteger(Math.log2(size))) {
    const cause = `${size} processes: a step is cut into a power of two of shards, equally many for each`;
    throw new RandloraError("usage", cause, "start 1, 2, 4 … processes");
  }
  const { shards = size } = asked;
  const settings = await newSettings({ ...asked, shards }, context);
  refuseShares(settings, context.processes);
  if (settings.logDir !== null) await refuseOtherEvents(settings.logDir);
  return { settings, sources: await findSources(settings, context) };
}

async function oldRun(
  asked: Partial<FlatSettings>,
  { resume, out }: FinetuneOptions,
  context: RunContext,
): Promise<PlannedRun> {
  const path = typeof resume === "string" ? resume : (out ?? (await newestRun()));
  if (out !== undefined && resolve(out) !== resolve(path)) {
    const cause = `--resume ${path}: a run goes on where it is, not in ${out}`;
    throw new Contradiction(["out", "resume"], cause, "give one of them");
  }
  if (resume === true && out === undefined) context.log.info(`resuming ${oneLine(path)}`);
  const { folder, settings: recorded } = await RunFolder.open(path, context.processes.rank === 0);
  try {
    refuseShares(recorded, context.processes);
    const settings = resumeSettings(recorded, asked, path);
    if (settings.logDir !== null && settings.logDir !== recorded.logDir) await refuseOtherEvents(settings.logDir);
    const sources = await findSources(await withOwnAdapter(unlogged(settings, asked, context), folder), context);
    const saved = await newestState(folder.states);
    if ((saved?.progress.step ?? 0) === 0) context.log.info(`${oneLine(path)}: no step was saved yet, it begins again`);
    return { settings, sources, began: { folder, recorded } };
  } catch (thrown) {
    await folder[Symbol.asyncDispose]();
    throw thrown;
  }
}

/** @throws RandloraError `usage` where the shards of a step cannot be shared equally */
function refuseShares({ shards }: TrainSettings, { size }: Processes): void {
  if (shards % size === 0) return;
  const cause = `--shards ${shards}: ${size} processes cannot share them equally`;
  throw new RandloraError("usage", cause, `start a power of two of them, ${shards} at most`);
}

/** A run that somebody else made must not say where files are written: its event file is gone on with where it is. */
function unlogged(settings: TrainSettings, asked: Partial<FlatSettings>, { log }: Context): TrainSettings {
  const { logDir } = settings;
  if (logDir === null || asked.logDir !== undefined || existsSync(eventFile(logDir))) return settings;
  log.warn(`${oneLine(eventFile(logDir))} is gone: --log-dir ${oneLine(logDir)} writes it again, with every step`);
  return { ...settings, logDir: null };
}

/** Trains, or estimates what training takes, once the data are there. */
async function proceed<Batch>(
  run: PlannedRun,
  loaded: Loaded<Batch>,
  options: FinetuneOptions,
  context: RunContext,
  watch: Partial<TrainObserver>,
): Promise<void> {
  const { sources, began } = run;
  const { local, location } = sources;
  const { subject } = loaded;
  const { processes } = context;
  const settings = { ...run.settings, sampleFormat: subject.sampleFormat };
  if (began !== undefined) refuseShorter(began.recorded, settings, subject);
  if (options.dryRun) {
    if (processes.rank > 0) return;
    const folder = began === undefined ? options.out : null;
    return loaded.show(await estimateRun({ settings: local, location, subject, device: context.device }, folder));
  }
  if (began !== undefined) {
    return await train(began.folder, sources, loaded, context, { watch, recorded: settings });
  }
  // What is wrong with the model, the targets or the adapter to go on from is found before a folder is made.
  await using source = await subject.open(local, location, { signal: context.signal });
  await using folder = await newFolder(options.out, settings, processes);
  try {
    return await train(folder, sources, loaded, context, { watch, source });
  } catch (thrown) {
    // A GPU that is not there, or too small: nothing was trained.
    if (processes.rank === 0) await folder.discardUnused();
    throw thrown;
  }
}

/** The first process makes it. */
async function newFolder(out: string | undefined, settings: TrainSettings, processes: Processes): Promise<RunFolder> {
  const made = processes.rank > 0 ? undefined : await RunFolder.create(out, settings);
  const [path = ""] = await processes.each(made?.path ?? "");
  return made ?? RunFolder.shared(path);
}

async function train<Batch>(
  folder: RunFolder,
  { local: settings, location }: RunSources,
  loaded: Loaded<Batch>,
  context: RunContext,
  { watch, ...more }: Pick<TrainingInput<Batch>, "recorded" | "source"> & { readonly watch: Partial<TrainObserver> },
): Promise<void> {
  const { subject, losses, badImages } = loaded;
  for (const line of losses) context.log.info(line);
  const { device, signal, processes } = context;
  let result: TrainResult;
  {
    using display = new TrainingDisplay(context);
    signal.addEventListener("abort", () => display.stopping());
    const input = { settings, location, subject, folder, device, processes, ...more };
    result = await finetune(input, watched(display, watch), signal);
  }
  const shown = { ...result, badImages: await badImages(processes), peakRssBytes: peakRssBytes() };
  if (processes.rank > 0) return;
  const moved = await sizeOfChange(result, folder, location, settings, context);
  await showRun(shown, settings, folder, moved, context);
}

/** Tells both. */
function watched(display: TrainingDisplay, watch: Partial<TrainObserver>): TrainObserver {
  return overlaid<TrainObserver>(display, {
    start(run) {
      display.start(run);
      watch.start?.(run);
    },
    step(metrics, memory) {
      display.step(metrics, memory);
      watch.step?.(metrics, memory);
    },
    evaluation(metrics, best) {
      display.evaluation(metrics, best);
      watch.evaluation?.(metrics, best);
    },
  });
}
