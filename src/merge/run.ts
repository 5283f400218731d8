import { readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type BaseModel, describeBase } from "../adapters/base.ts";
import { openAdapter } from "../adapters/open.ts";
import type { Bases } from "../adapters/randlora/bases.ts";
import { DeltaBases } from "../adapters/randlora/delta.ts";
import { loadBases } from "../adapters/randlora/load-bases.ts";
import { planRandlora, type RandloraPlan } from "../adapters/randlora/plan.ts";
import type { Adapter } from "../adapters/types.ts";
import { RandloraError } from "../errors.ts";
import { Gpu } from "../gpu/gpu.ts";
import type { GeneratorName } from "../random/names.ts";
import { Checkpoint } from "../safetensors/checkpoint.ts";
import { naming, oneLine, systemCode } from "../safetensors/failure.ts";
import { SafetensorsFile } from "../safetensors/file.ts";
import { Publication } from "../safetensors/publish.ts";
import { encodeIndex, INDEX_FILE, planShards, type PlannedShard } from "../safetensors/shards.ts";
import { plannedBytes } from "../safetensors/writer.ts";
import { type LoadedAdapter, type TensorReport, writeMerged } from "./merge.ts";
import type { Rounding } from "./merge-tensor.ts";
import { copyModelFiles, parseConfig, updateConfig } from "./model-files.ts";
import {
  fileSource,
  type MergePlan,
  type OutputDtype,
  type OutputTensor,
  planMerge,
  type TensorSource,
} from "./plan.ts";
import { StageClock } from "./stages.ts";
import { verifyMerge } from "./verify.ts";

export interface MergeOptions {
  /** A model folder, an index.json, or one .safetensors file. */
  readonly base: string;
  readonly adapters: readonly string[];
  /** Beside the base by default; see `defaultOutput`. */
  readonly out?: string | undefined;
  readonly dtype: OutputDtype;
  /** One for all, or one an adapter; multiplies α/r. */
  readonly scales: readonly number[];
  readonly rounding: Rounding;
  readonly generator?: GeneratorName | undefined;
  /** Bytes of tensors in one file of the output; a lone file is never split. */
  readonly maxShardSize: number;
  readonly unmerge: boolean;
  readonly verify: boolean;
  readonly force: boolean;
  /** Everything but the work: what would be read, merged and written. */
  readonly dryRun: boolean;
  readonly gpu?: string | undefined;
  readonly profile?: boolean | undefined;
}

/** Where a merge tells how far it is. The loop itself prints nothing. */
export interface MergeObserver {
  warn(text: string): void;
  /** The plan is made: so much will be written. */
  start(total: { readonly bytes: number; readonly tensors: number; readonly out: string }): void;
  tensor(name: string): void;
  bytes(count: number): void;
}

export interface MergeSummary {
  readonly out: string;
  readonly gpu: string | undefined;
  readonly tensors: number;
  readonly merged: number;
  readonly bytes: number;
  /** Of each adapter, in order; null where the bases were saved in the file. */
  readonly generators: readonly (GeneratorName | null)[];
  readonly reports: readonly TensorReport[];
  readonly maxErrorUlp: number | undefined;
  readonly seconds: Readonly<Record<string, number>>;
  readonly peakGpuBytes: number;
  readonly profile: readonly { readonly kernel: string; readonly calls: number; readonly seconds: number }[];
}

/**
 * `randlora merge`: W + Σ sᵢΔWᵢ for every adapted weight, everything else as it was. The output appears under its name
 * only when it is complete.
 * @throws RandloraError naming file, tensor and cause; nothing is left behind
 */
export async function merge(
  options: MergeOptions,
  observer: MergeObserver,
  signal: AbortSignal,
): Promise<MergeSummary> {
  const clock = new StageClock();
  await using resources = new AsyncDisposableStack();
  const checkpoint = resources.use(await Checkpoint.open(options.base));
  const configPath = join(checkpoint.folder, "config.json");
  const configText = await readOptional(configPath);
  const config = configText === undefined ? undefined : parseConfig(configText, configPath);
  const base = describeBase(checkpoint, config, options.base);
  const plans = await planAdapters(options, base, (adapter) => resources.use(adapter));
  for (const { notes } of plans) for (const note of notes) observer.warn(note);
  const plan = planMerge(checkpoint, base, plans, options.dtype);
  const lone = options.base.endsWith(".safetensors");
  if (!lone && configText === undefined) {
    const hint = "give the .safetensors file itself to merge a lone file";
    throw new RandloraError("file", `${oneLine(configPath)}: no such file, but a model folder has one`, hint);
  }
  const out = resolve(options.out ?? defaultOutput(options.base, options.unmerge));
  const shards = lone
    ? [{ file: basename(out), tensors: plan.tensors }]
    : planShards(plan.tensors, options.maxShardSize);
  const summary = summarise(plan, plans, out);
  clock.end("plan");
  if (options.dryRun) return { ...summary, ...nothingDone(), seconds: clock.stages() };

  const publication = resources.use(
    await Publication.begin(out, {
      kind: lone ? "file" : "folder",
      force: options.force,
      inputs: [...checkpoint.paths, ...plans.map(({ adapter }) => adapter.file)],
    }),
  );
  const opening = Gpu.open({ choice: options.gpu, profile: options.profile });
  opening.catch(() => {}); // awaited below; the bases are drawn meanwhile
  const scales = scalesOf(options);
  const loaded: { plan: RandloraPlan; bases: Bases; scale: number }[] = [];
  for (const [index, one] of plans.entries()) {
    signal.throwIfAborted();
    const bases = await loadBases(one.adapter, one.bases, one.config.r, one.extent);
    loaded.push({ plan: one, bases, scale: one.scale * (scales[index] ?? 1) });
  }
  clock.end("bases");
  const gpu = resources.use(await opening);
  const adapters: LoadedAdapter[] = [];
  for (const { plan: one, bases, scale } of loaded) {
    adapters.push({ plan: one, scale, bases: await DeltaBases.create(gpu, bases, one.pairing) });
  }
  const verified = options.verify ? [...loaded] : [];
  loaded.length = 0; // the GPU has them; only a verification still needs the copies
  clock.end("gpu");

  observer.start({ bytes: summary.bytes, tensors: plan.tensors.length, out });
  const pathOf = (shard: PlannedShard): string =>
    lone ? publication.partPath : join(publication.partPath, shard.file);
  const metadata = checkpoint.files[0]?.header.metadata ?? new Map<string, string>();
  const reports = await writeMerged(
    {
      gpu,
      checkpoint,
      adapters,
      rounding: options.rounding,
      metadata,
      signal,
      onTensor: (name) => observer.tensor(name),
      onBytes: (count) => observer.bytes(count),
    },
    shards,
    pathOf,
  );
  clock.end("merge");
  if (!lone && configText !== undefined) {
    await writeModelFiles(checkpoint, publication.partPath, configText, options, plan, shards, observer);
  } else if (plan.untied) {
    observer.warn('the output embedding is no longer tied: set "tie_word_embeddings": false in config.json');
  }
  let maxErrorUlp: number | undefined;
  if (options.verify) {
    const written = await openWritten(shards, pathOf, (file) => resources.use(file));
    const largest = new Map(reports.map(({ name, maxAbsDelta }) => [name, maxAbsDelta]));
    maxErrorUlp = await verifyMerge(plan.tensors, verified, written, options.rounding, largest);
    clock.end("verify");
  }
  signal.throwIfAborted();
  await publication.commit();
  clock.end("publish");
  const profile = (await gpu.profiler?.report()) ?? [];
  const seconds = clock.stages();
  return { ...summary, gpu: gpu.info.name, reports, maxErrorUlp, seconds, peakGpuBytes: gpu.memory.peakBytes, profile };
}

/** `x` → `x-merged`, `x.safetensors` → `x-merged.safetensors`; `-unmerged` for an unmerge. Beside the base. */
export function defaultOutput(base: string, unmerge: boolean): string {
  const suffix = unmerge ? "-unmerged" : "-merged";
  const path = resolve(base);
  if (path.endsWith(".safetensors")) return path.replace(/\.safetensors$/, `${suffix}.safetensors`);
  return `${path.endsWith(".json") ? dirname(path) : path}${suffix}`;
}

async function planAdapters(
  options: MergeOptions,
  base: BaseModel,
  keep: (adapter: Adapter) => Adapter,
): Promise<RandloraPlan[]> {
  const plans: RandloraPlan[] = [];
  for (const path of options.adapters) {
    const adapter = keep(await openAdapter(path));
    plans.push(planRandlora(adapter, adapter.method.config, base, options.generator));
  }
  return plans;
}

function scalesOf({ scales, adapters, unmerge }: MergeOptions): number[] {
  if (scales.length > 1 && scales.length !== adapters.length) {
    const counts = `${scales.length} times for ${adapters.length} adapters`;
    throw new RandloraError("usage", `--scale is given ${counts}`, "give it once, or once for each adapter");
  }
  return adapters.map((_, index) => (unmerge ? -1 : 1) * (scales[index] ?? scales[0] ?? 1));
}

function summarise(plan: MergePlan, plans: readonly RandloraPlan[], out: string) {
  return {
    out,
    tensors: plan.tensors.length,
    merged: plan.merged,
    bytes: plan.tensors.reduce((sum, tensor) => sum + plannedBytes(tensor), 0),
    generators: plans.map(({ bases }) => (bases.kind === "drawn" ? bases.spec.generator : null)),
  };
}

function nothingDone() {
  return { gpu: undefined, reports: [], maxErrorUlp: undefined, peakGpuBytes: 0, profile: [] };
}

async function writeModelFiles(
  checkpoint: Checkpoint,
  folder: string,
  configText: string,
  options: MergeOptions,
  plan: MergePlan,
  shards: readonly PlannedShard<OutputTensor>[],
  observer: MergeObserver,
): Promise<void> {
  const leftOut = await copyModelFiles(checkpoint.folder, folder, new Set(checkpoint.paths));
  if (leftOut.length > 0) observer.warn(`not copied, as they hold unmerged weights: ${leftOut.join(", ")}`);
  const config = updateConfig(configText, { dtype: options.dtype, untied: plan.untied });
  const configPath = join(folder, "config.json");
  await naming(configPath, "write", writeFile(configPath, config));
  if (shards.length === 1) return;
  const indexPath = join(folder, INDEX_FILE);
  await naming(indexPath, "write", writeFile(indexPath, encodeIndex(shards, checkpoint.indexMetadata)));
}

/** The tensors that were written, read back from the unpublished output. */
async function openWritten(
  shards: readonly PlannedShard<OutputTensor>[],
  pathOf: (shard: PlannedShard) => string,
  keep: (file: SafetensorsFile) => SafetensorsFile,
): Promise<(name: string) => TensorSource> {
  const sources = new Map<string, TensorSource>();
  for (const shard of shards) {
    const file = keep(await SafetensorsFile.open(pathOf(shard)));
    for (const { name } of shard.tensors) sources.set(name, fileSource(file, file.get(name)));
  }
  return (name) => {
    const source = sources.get(name);
    if (source === undefined) throw new RangeError(name);
    return source;
  };
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (thrown) {
    if (systemCode(thrown) === "ENOENT") return undefined;
    return naming(path, "read", Promise.reject(thrown));
  }
}
