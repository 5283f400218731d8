import { resolve } from "node:path";
import { openBase } from "../../adapters/base/named-base.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import type { Context } from "../../terminal/options/command.ts";
import { EMBEDDED_RATE, EMBEDDED_RUN, findSources, lookUp, type RunSources } from "../../train/command/settings.ts";
import { KeptGpu } from "../../train/loop/kept-gpu.ts";
import { RUN_OPTIONS } from "../../train/settings/options.ts";
import { changeable } from "../../train/settings/resume-settings.ts";
import type { TrainSettings } from "../../train/settings/settings.ts";
import { type Job, jobOf, jobText } from "../../terminal/options/shared/job.ts";
import { formatAmount, formatNumber } from "../../terminal/format.ts";
import { oneLine, shellWord } from "../../files/failure.ts";
import { toldBySeeds } from "./contest.ts";
import { ComparisonDisplay, planContender, showPlan } from "./display.ts";
import { ComparisonFolder } from "./folder.ts";
import { adaptedPart, imageData, type RunsData, textData } from "./load-data.ts";
import type { CompareJson, CompareOptions } from "./options.ts";
import { planComparison, plannedRuns } from "./plan.ts";
import { commonSettings, readLike, readSwept, readWishes, recordedSpecs } from "./read-methods.ts";
import { type ComparisonRecord, formatRecord, resumedComparison } from "./record.ts";
import { compare, type CompareInput, sourcesOf } from "./run.ts";
import { showComparison } from "./show.ts";
import type { Comparison } from "./types.ts";

const SEEDS = 3;
/** Seeds that tell differences of a few times what they vary by; fewer are told so. */
const ENOUGH = 5;
/** Tokens that forgetting is measured on: 16 texts. */
const TOKENS = 4096;

/** Trains a model by several methods with equally many parameters, or goes on with that, and shows which is best. */
export async function compareMethods(
  model: string | undefined,
  options: CompareOptions,
  context: Context<CompareJson>,
): Promise<void> {
  using gpu = new KeptGpu(context.device);
  const job = jobOf(options);
  const { dryRun, out } = options;
  if (options.resume !== undefined) {
    if (!dryRun) return await goOn(model, options, gpu, job, context);
    const cause = "--dry-run and --resume: what a comparison trains is known once it has begun";
    throw new Contradiction(["dryRun", "resume"], cause, "give one of them");
  }
  if (out === undefined && !dryRun) {
    throw new RandloraError("usage", "--out is missing", "name a folder for the comparison: --out DIR");
  }
  const comparison = await newComparison(model, options, context);
  const [first] = comparison.contenders;
  if (first === undefined) throw new RandloraError("usage", "--methods: no method", "name some");
  const sources = await findSources(first.settings, context);
  const around = { sources, gpu, job, context, changed: {} };
  await withData(first.settings, sources, context, async (data) => {
    if (dryRun || out === undefined) await showPlan(out, comparison, placedOn(data, around), context);
    else await begin(out, comparison, data, around);
  });
}

/** Finds the data of the runs for what is done with them. */
async function withData(
  { images }: TrainSettings,
  sources: RunSources,
  context: Context,
  use: <Batch>(data: RunsData<Batch>) => Promise<void>,
): Promise<void> {
  using resources = new DisposableStack();
  if (images === null) await use(resources.use(await textData(sources, context)));
  else await use(resources.use(await imageData(sources, context)));
}

/** What runs take from this machine. */
interface Surroundings {
  readonly sources: RunSources;
  readonly gpu: KeptGpu;
  /** Which of the runs to make, where tasks share them. */
  readonly job: Job | undefined;
  readonly context: Context;
  /** Settings that a resumed comparison has anew. */
  readonly changed: Partial<TrainSettings>;
}

/** Makes the folder of a comparison, and its runs. */
async function begin<Batch>(
  out: string,
  comparison: Comparison,
  data: RunsData<Batch>,
  around: Surroundings,
): Promise<void> {
  const placed = placedOn(data, around);
  if (around.job === undefined) await ComparisonFolder.refuseTaken(out);
  // What is wrong with the data or the GPU is found before a folder is made; a method that cannot run has no numbers.
  await around.gpu.open();
  for (const contender of comparison.contenders) {
    const planned = await planContender(contender, placed, out);
    if (planned instanceof RandloraError) around.context.log.warn(planned.message);
  }
  const told = toldBySeeds(comparison);
  if (told !== undefined) {
    const { seeds } = comparison;
    const more =
      seeds < ENOUGH ? `; ${ENOUGH} seeds, ${toldBySeeds({ ...comparison, seeds: ENOUGH })?.toPrecision(2)}` : "";
    around.context.log.info(
      `${seeds} seeds tell two methods apart, four times in five, whose difference is ${told.toPrecision(2)} times what it varies by over the seeds${more}`,
    );
  }
  const record = { comparison, results: [] };
  if (around.job !== undefined) {
    const { folder, record: found } = await ComparisonFolder.join(out, async () => {
      return { ...record, sources: await sourcesOf({ record, ...placed }, around.context.signal) };
    });
    refuseOther(out, found, record);
    return await runAll(folder, found, placed, around.context);
  }
  await using folder = await ComparisonFolder.create(out, record);
  try {
    await runAll(folder, record, placed, around.context);
  } catch (thrown) {
    await folder.discardUnused();
    throw thrown;
  }
}

/** Methods, sizes and settings by what was asked. */
async function newComparison(
  model: string | undefined,
  options: CompareOptions,
  context: Context,
): Promise<Comparison> {
  const wishes = readWishes(options);
  const { params, like } = options;
  if (params !== undefined && like !== undefined) {
    const cause = "--params and --like: both say how much is trained";
    throw new Contradiction(["params", "like"], cause, "give one of them");
  }
  const budgets = like === undefined ? params : readLike(like);
  const flags = commonSettings(model, options);
  const isEmbedded = flags.model === undefined && flags.data === undefined;
  const { location, named, facts } = await lookUp(isEmbedded ? EMBEDDED_RUN : flags, context);
  await using opened = await openBase(location.weights ?? location.folder, location.folder);
  const within = facts.images && (await adaptedPart(location, flags, facts.images));
  const base = { ...opened.base, within };
  const common = { ...(isEmbedded ? EMBEDDED_RUN : {}), ...flags, ...named };
  const seeds = options.seeds ?? SEEDS;
  const leastRate = isEmbedded ? EMBEDDED_RATE : 0;
  const forgetting = options.forgetting ?? (facts.images ? 0 : TOKENS);
  if (facts.images && forgetting > 0) {
    const cause = `--forgetting ${forgetting}: a model of images draws no texts to measure forgetting on`;
    throw new RandloraError("usage", cause, "leave it out");
  }
  return planComparison({ wishes, budgets, seeds, forgetting, leastRate, common, facts, base });
}

/** Goes on with a comparison, perhaps with more seeds. */
async function goOn(
  model: string | undefined,
  options: CompareOptions,
  gpu: KeptGpu,
  job: Job | undefined,
  context: Context,
): Promise<void> {
  const path = options.resume === true ? options.out : options.resume;
  if (path === undefined) {
    throw new RandloraError("usage", "--resume: no comparison is named", "write --resume DIR, or --out DIR --resume");
  }
  if (options.out !== undefined && resolve(options.out) !== resolve(path)) {
    const cause = `--resume ${path}: a comparison goes on where it is, not in ${options.out}`;
    throw new Contradiction(["out", "resume"], cause, "give one of them");
  }
  const { methods: named } = options;
  const wishes = named && readWishes({ methods: named, learningRate: [], alpha: [] });
  const common = commonSettings(model, options);
  const { folder: opened, record: recorded } =
    job === undefined ? await ComparisonFolder.open(path) : await ComparisonFolder.joinBegun(path);
  await using folder = opened;
  const { params: budgets, like, seeds, forgetting } = options;
  const labels = wishes?.map(({ label }) => label);
  const swept = readSwept(options, recordedSpecs(recorded.comparison.contenders));
  const given = { labels, budgets, like, seeds, forgetting, ...swept, common };
  const resumed = resumedComparison(recorded.comparison, given);
  const { seeds: had, looks } = recorded.comparison;
  const isLook = resumed.seeds > had && recorded.results.length === plannedRuns(recorded.comparison).length;
  const comparison = { ...resumed, looks: isLook ? [...looks, had] : looks };
  const record = { ...recorded, comparison };
  const [first] = comparison.contenders;
  if (first === undefined) throw new TypeError("a comparison of nothing");
  const sources = await findSources(first.settings, context);
  const around = { sources, gpu, job, context, changed: changeable(RUN_OPTIONS, common, "comparison") };
  await withData(first.settings, sources, context, (data) => runAll(folder, record, placedOn(data, around), context));
}

type Placed<Batch> = Omit<CompareInput<Batch>, "folder" | "record">;

function placedOn<Batch>(data: RunsData<Batch>, { sources, gpu, job, changed }: Surroundings): Placed<Batch> {
  const { location, local } = sources;
  return {
    location,
    local: (settings) => ({ ...settings, data: local.data, ...changed }),
    load: (settings) => data.load(settings),
    gpu,
    job,
  };
}

async function runAll<Batch>(
  folder: ComparisonFolder,
  record: ComparisonRecord,
  placed: Placed<Batch>,
  context: Context,
): Promise<void> {
  const { signal } = context;
  let compared: Awaited<ReturnType<typeof compare>>;
  {
    using display = new ComparisonDisplay(context);
    signal.addEventListener("abort", () => display.stopping());
    compared = await compare({ folder, record, ...placed }, display, signal);
  }
  const { record: ended, failed } = compared;
  const runs = plannedRuns(ended.comparison);
  const left = runs.length - ended.results.length;
  const { job } = placed;
  if (job === undefined || left === 0) {
    const results = [...ended.results, ...failed.map(({ result }) => result)];
    await showComparison(folder, { ...ended, results }, context);
  } else {
    const json: JobJson = { out: folder.path, job: jobText(job), runs: runs.length, runs_left: left };
    context.result(
      json,
      () => `job ${jobText(job)}: ${formatNumber(left)} of ${formatAmount(runs.length, "run")} are left\n`,
    );
  }
  const [first] = failed;
  if (first === undefined) return;
  // A fault of the program is told as one.
  if (!(first.thrown instanceof RandloraError)) throw first.thrown;
  const { code, message, hint } = first.thrown;
  const cause = `${formatAmount(failed.length, "run")} failed, ${first.result.method} first: ${message}`;
  throw new RandloraError(
    code,
    cause,
    `${hint === "" ? "" : `${hint}; then `}compare --resume ${shellWord(folder.path)} makes them again`,
  );
}

/**
 * What a task prints that is not the last one.
 * @json compare --job
 */
interface JobJson {
  readonly out: string;
  /** I/N. */
  readonly job: string;
  readonly runs: number;
  /** Of all tasks. */
  readonly runs_left: number;
}

/** Tasks that share a comparison must have been told the same. @throws RandloraError `usage` */
function refuseOther(out: string, found: ComparisonRecord, wanted: ComparisonRecord): void {
  const [there, asked] = [found, wanted].map(({ comparison }) => formatRecord({ comparison, results: [] }));
  if (there === asked) return;
  const cause = `${oneLine(out)}: there is another comparison: other methods or settings`;
  throw new RandloraError("usage", cause, "give all jobs the same options, or name another --out");
}
