import type { KernelTime } from "../../../compute/device/device.ts";
import { itemAt } from "../../../files/item-at.ts";
import { basename, join, resolve } from "node:path";
import type { BaseModel } from "../../base/base.ts";
import { openBase } from "../../base/open-base.ts";
import { openAdapter } from "../../open.ts";
import { planAdapter } from "../../methods.ts";
import type { AdapterPlan, BasesOrigin } from "../../plan.ts";
import type { Adapter } from "../../adapter.ts";
import { RandloraError } from "../../../files/errors.ts";
import type { Device } from "../../../compute/device/device.ts";
import { type DeviceOptions, openDevice } from "../../../compute/open-device.ts";
import type { GeneratorName } from "../../../compute/random/names.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import type { OutputDtype } from "../../../files/safetensors/dtype.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { Publication } from "../../../files/publish.ts";
import { modelFolderObjection, planShards, type PlannedShard } from "../../../files/safetensors/shards.ts";
import { plannedBytes, SafetensorsWriter } from "../../../files/safetensors/writer.ts";
import type { Outtype } from "../outtypes.ts";
import { ggufModel } from "../to-gguf/ask.ts";
import { GgufSink, planGguf } from "../to-gguf/sink.ts";
import { type LoadedAdapter, type TensorReport, type TensorSink, writeMerged } from "./write.ts";
import type { Rounding } from "../merge-tensor.ts";
import type { Combination } from "../combine/names.ts";
import { type CombineWish, combining, onePerAdapter } from "../combine/wish.ts";
import { missingConfig, type ModelConfig } from "../../../models/folder/config-json.ts";
import { foldersIn } from "../../../models/folder/copy.ts";
import { defaultOutput, isLoneFile, openWritten, writeModelFiles } from "./output.ts";
import { type MergePlan, planMerge } from "../plan.ts";
import { StageClock } from "./stages.ts";
import { noteOfBlocks } from "../trained-in-blocks.ts";
import { type VerifiedAdapter, verifyMerge } from "./verify.ts";

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
  /** How several ΔW become one; their sum by default. */
  readonly combine?: CombineWish | undefined;
  readonly generator?: GeneratorName | undefined;
  /** Of a GGUF file, which `out` asks for: what matrices are stored as; `dtype` by default. */
  readonly outtype?: Outtype | undefined;
  /** Of a GGUF file: llama.cpp's name of the pre-tokenizer, where nothing says it. */
  readonly pre?: string | undefined;
  /** Bytes of tensors in one file of the output; a lone file is never split. */
  readonly maxShardSize: number;
  readonly unmerge: boolean;
  readonly verify: boolean;
  readonly force: boolean;
  /** Everything but the work: what would be read, merged and written. */
  readonly dryRun: boolean;
  readonly device?: DeviceOptions | undefined;
}

/** Where a merge tells how far it is. The loop itself prints nothing. */
export interface MergeObserver {
  warn(text: string): void;
  /** The plan is made: so much will be written. */
  start(total: { readonly bytes: number; readonly tensors: number; readonly out: string }): void;
  tensor(name: string): void;
  bytes(count: number): void;
  /** All is written, and so many tensors are looked through again. */
  verify(tensors: number): void;
  /** One of them is. */
  verified(): void;
}

export interface MergeSummary {
  readonly out: string;
  readonly gpu: string | undefined;
  readonly tensors: number;
  readonly merged: number;
  readonly combine: Combination;
  readonly bytes: number;
  /** Where each adapter's random matrices come from, in order. */
  readonly bases: readonly BasesOrigin[];
  readonly reports: readonly TensorReport[];
  readonly maxErrorUlp: number | undefined;
  /** What rounding to a GGUF file's blocks took off merged weights, a Frobenius norm. */
  readonly blocksError: number | undefined;
  readonly seconds: Readonly<Record<string, number>>;
  readonly peakGpuBytes: number;
  readonly profile: readonly KernelTime[];
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
  const weights = onePerAdapter("scale", options.scales, options.adapters, 1).map((one) =>
    options.unmerge ? -one : one,
  );
  const out = resolve(options.out ?? defaultOutput(options.base, options.unmerge));
  await using resources = new AsyncDisposableStack();
  const { checkpoint, config, base } = resources.use(await openBase(options.base));
  const plans = await planAdapters(options, base, (adapter) => resources.use(adapter));
  for (const { notes } of plans) for (const note of notes) observer.warn(note);
  for (const path of options.adapters) for (const note of await noteOfBlocks(path)) observer.warn(note);
  const model = await ggufModel(options, out, checkpoint.folder);
  const applied = combining(plans, weights, options);
  const merged = planMerge(checkpoint, base, applied.plans, model?.dtypeOf.bind(model) ?? options.dtype);
  const gguf = model && planGguf(merged.untied ? model.untied() : model, merged.tensors, checkpoint);
  const plan = gguf ? { ...merged, tensors: merged.tensors.filter(({ name }) => gguf.tensors.has(name)) } : merged;
  for (const note of [...plan.notes, ...(gguf?.model.notes ?? [])]) observer.warn(note);
  const isFile = gguf !== undefined || (await isLoneFile(options.base));
  if (!isFile && config === undefined) throw missingConfig(checkpoint.folder);
  const shards = isFile
    ? [{ file: basename(out), tensors: plan.tensors }]
    : planShards(plan.tensors, options.maxShardSize);
  const combine = options.combine?.how ?? "sum";
  const summary = { ...summarise(plan, plans, out), combine, ...(gguf && { bytes: gguf.bytes }) };
  clock.end("plan");
  const folders = await foldersIn(checkpoint.folder);
  const publication = resources.use(
    await Publication.begin(out, {
      kind: isFile ? "file" : "folder",
      force: options.force,
      inputs: inputsOf(checkpoint, config, plans),
      objection: (entries) => modelFolderObjection(entries, folders),
    }),
  );
  // Only now: a dry run refuses what the merge would refuse. The publication is aborted, which leaves nothing.
  if (options.dryRun) return { ...summary, ...nothingDone(), seconds: clock.stages() };
  if (!isFile && config !== undefined) {
    await writeModelFiles({ checkpoint, publication, config, dtype: options.dtype, plan, shards, observer });
  } else if (plan.untied && gguf === undefined) {
    observer.warn('the output embedding is no longer tied: set "tie_word_embeddings": false in config.json');
  }
  clock.end("files");
  const opening = openGpu(options, resources); // awaited below; bases are drawn meanwhile
  const adapters: LoadedAdapter[] = [];
  const verified: VerifiedAdapter[] = [];
  for (const [index, one] of applied.plans.entries()) {
    signal.throwIfAborted();
    const source = await one.load(signal);
    clock.end("bases");
    const factor = itemAt(applied.factors, index);
    adapters.push({ plan: one, factor, deltas: await source.upload(await opening) });
    // The GPU has them now; only a verification needs the copy in memory.
    if (options.verify) verified.push({ plan: one, source, factor });
    clock.end("device");
  }
  const gpu = await opening;
  Bun.gc(true); // what the bases were made of is large, and must not wait for the collector's next turn
  signal.throwIfAborted();

  const computed = plan.tensors.reduce((sum, tensor) => sum + plannedBytes(tensor), 0);
  observer.start({ bytes: computed, tensors: plan.tensors.length, out });
  const pathOf = (shard: PlannedShard): string =>
    isFile ? publication.partPath : join(publication.partPath, shard.file);
  const metadata = checkpoint.files[0]?.header.metadata ?? new Map<string, string>();
  let sink: GgufSink | undefined;
  const reports = await writeMerged(
    {
      gpu,
      checkpoint,
      adapters,
      rounding: options.rounding,
      signal,
      onTensor: (name) => observer.tensor(name),
      onBytes: (count) => observer.bytes(count),
    },
    shards,
    async (shard): Promise<TensorSink> =>
      gguf
        ? (sink = await GgufSink.create(pathOf(shard), gguf))
        : await SafetensorsWriter.create(pathOf(shard), shard.tensors, metadata),
  );
  clock.end("merge");
  let maxErrorUlp: number | undefined;
  if (options.verify) {
    const written = await openWritten(shards, pathOf, (file) => resources.use(file));
    const largest = new Map(reports.map(({ name, maxAbsDelta }) => [name, maxAbsDelta]));
    observer.verify(plan.tensors.length);
    const onTensor = () => observer.verified();
    maxErrorUlp = await verifyMerge(plan.tensors, verified, written, options.rounding, largest, signal, onTensor);
    clock.end("verify");
  }
  signal.throwIfAborted();
  await publication.commit();
  clock.end("publish");
  const profile = (await gpu.profiler?.report()) ?? [];
  const blocksError = sink?.blocksError;
  const [seconds, peakGpuBytes] = [clock.stages(), gpu.memory.peakBytes];
  return { ...summary, gpu: gpu.info.name, reports, maxErrorUlp, blocksError, seconds, peakGpuBytes, profile };
}

/** Starts to open the device, which takes its time; whatever happens meanwhile, it is closed in the end. */
function openGpu({ device }: MergeOptions, resources: AsyncDisposableStack): Promise<Device> {
  const opening = openDevice(device);
  opening.catch(() => {}); // reported to whoever waits for it
  resources.defer(async () => (await opening.catch(() => undefined))?.close());
  return opening;
}

/** Everything that is read: the output must be none of it. */
function inputsOf(
  checkpoint: Checkpoint,
  config: ModelConfig | undefined,
  plans: readonly AdapterPlan[],
): readonly string[] {
  const adapterFiles = plans.flatMap(({ adapter }) => [adapter.file, adapter.configFile]);
  return [...checkpoint.paths, ...(config === undefined ? [] : [config.path]), ...new Set(adapterFiles)];
}

async function planAdapters(
  options: MergeOptions,
  base: BaseModel,
  keep: (adapter: Adapter) => Adapter,
): Promise<AdapterPlan[]> {
  const plans: AdapterPlan[] = [];
  for (const path of options.adapters) {
    const adapter = keep(await openAdapter(path));
    const { generator } = options;
    const plan = planAdapter(adapter, base, {
      generator,
      amongOthers: options.adapters.length > 1,
    });
    const [replaced] = plan.replacements;
    if (options.unmerge && replaced !== undefined) {
      const cause = `it replaces tensor ${quote(replaced.tensor)} whole, and does not hold what was there before`;
      const hint = "only ΔW can be subtracted: use the original model";
      throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
    }
    if (options.unmerge && plan.rescales === true) {
      const cause = "it rescales the rows of the original weights, whose norms a merged model no longer has";
      throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "use the original model");
    }
    plans.push(plan);
  }
  return plans;
}

function summarise(plan: MergePlan, plans: readonly AdapterPlan[], out: string) {
  return {
    out,
    tensors: plan.tensors.length,
    merged: plan.merged,
    bytes: plan.tensors.reduce((sum, tensor) => sum + plannedBytes(tensor), 0),
    bases: plans.map(({ bases }) => bases),
  };
}

function nothingDone() {
  return { gpu: undefined, reports: [], maxErrorUlp: undefined, blocksError: undefined, peakGpuBytes: 0, profile: [] };
}
