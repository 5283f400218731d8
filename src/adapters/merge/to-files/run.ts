import { join } from "node:path";
import { openDevice } from "../../../compute/open-device.ts";
import { requireSpace } from "../../../files/disk.ts";
import { Publication } from "../../../files/publish.ts";
import type { PlannedShard } from "../../../files/safetensors/shards.ts";
import { SafetensorsWriter } from "../../../files/safetensors/writer.ts";
import type { WorkSurface } from "../../../terminal/progress.ts";
import type { StreamOptions, TensorReport } from "../tensor-stream.ts";
import { GgufSink } from "../to-gguf/sink.ts";
import { openWritten, openWrittenGguf } from "./output.ts";
import { bytesOf, type PreparedMerge, prepareMerge, writeOtherFiles } from "./prepare.ts";
import { type MergeOptions, type MergeSummary, NOTHING_DONE } from "./options.ts";
import { verifyMerge } from "./verify.ts";

/** Bytes of weights that are read, computed and written at the same time. */
const IN_FLIGHT_BYTES = 4 * 2 ** 20;

/** Tensors between two collections of garbage: by itself the collector would wait for as much of it as a small merge takes altogether. */
const COLLECTED_TENSORS = 32;

type PathOf = (shard: PlannedShard) => string;

/**
 * `randlora merge`: W + Σ sᵢΔWᵢ for every adapted weight, everything else as it was. The output appears under its name
 * only when it is complete.
 * @throws RandloraError naming file, tensor and cause; nothing is left behind
 */
export async function merge(
  options: MergeOptions,
  surface: WorkSurface,
  signal: AbortSignal,
  title = "merging",
): Promise<MergeSummary> {
  const clock = new StageClock();
  await using resources = new AsyncDisposableStack();
  const prepared = await prepareMerge(options, surface, resources);
  const { out, isFile, shards, merged, plan, summary, checks } = prepared;
  clock.end("plan");
  const publication = resources.use(await Publication.begin(out, checks));
  await requireSpace(publication.target, summary.bytes);
  // Only now: a dry run refuses what the merge would refuse. The publication is aborted, which leaves nothing.
  if (options.dryRun) return { ...summary, ...NOTHING_DONE, seconds: clock.stages() };
  await writeOtherFiles(prepared, options.dtype, publication.target, publication.partPath, surface);
  clock.end("files");
  const opening = openDevice(options.device); // awaited below; bases are drawn meanwhile
  opening.catch(() => {}); // reported to whoever waits for it
  resources.defer(async () => (await opening.catch(() => undefined))?.close());
  const loading = { signal, keepsSource: options.verify, onStage: (stage: string) => clock.end(stage) };
  // Registered after the device: what is on it is given back first.
  const adapters = await resources.use(merged).load(opening, loading);
  const gpu = await opening;
  Bun.gc(true); // what the bases were made of is large, and must not wait for the collector's next turn
  signal.throwIfAborted();
  const spec = { items: plan.tensors.length, unit: "tensors" };
  using bar = surface.progress({ title, bytes: bytesOf(shards), ...spec });
  const pathOf: PathOf = ({ file }) => (isFile ? publication.partPath : join(publication.partPath, file));
  const { rounding } = options;
  const onTensor = (name: string): void => {
    bar.label(name);
    bar.add({ items: 1 });
  };
  const onBytes = (bytes: number): void => bar.add({ bytes });
  const { reports, blocksError } = await writeShards(prepared, pathOf, { rounding, signal, onTensor, onBytes });
  clock.end("merge");
  let maxErrorUlp: number | undefined;
  if (options.verify) {
    await using files = new AsyncDisposableStack();
    const written = await readBack(prepared, pathOf, files);
    const largest = new Map(reports.map(({ name, maxAbsDelta }) => [name, maxAbsDelta]));
    bar.close();
    using checked = surface.progress({ title: "verifying", ...spec });
    const onVerified = (): void => checked.add({ items: 1 });
    maxErrorUlp = await verifyMerge(plan.tensors, adapters, written, rounding, largest, signal, onVerified);
    clock.end("verify");
  }
  signal.throwIfAborted();
  await publication.commit();
  clock.end("publish");
  const profile = (await gpu.profiler?.report()) ?? [];
  const [seconds, peakGpuBytes] = [clock.stages(), gpu.memory.peakBytes];
  return { ...summary, gpu: gpu.info.name, reports, maxErrorUlp, blocksError, seconds, peakGpuBytes, profile };
}

/**
 * Writes the shards of the output: reading, computing and writing overlap, tensors keep their planned order.
 * @returns one report for each merged tensor, in order; what rounding to a GGUF file's blocks took off merged weights
 */
async function writeShards(
  { merged, gguf, shards }: PreparedMerge,
  pathOf: PathOf,
  options: StreamOptions,
): Promise<{ readonly reports: readonly TensorReport[]; readonly blocksError: number | undefined }> {
  const metadata = merged.base.checkpoint.files[0]?.header.metadata ?? new Map<string, string>();
  const open: (SafetensorsWriter | GgufSink)[] = [];
  const reports: TensorReport[] = [];
  const onMerged = (report: TensorReport): void => {
    if (reports.push(report) % COLLECTED_TENSORS === 0) Bun.gc(true);
  };
  try {
    await merged.stream({ ...options, ahead: IN_FLIGHT_BYTES, onMerged }, async (stream) => {
      for (const shard of shards) {
        const path = pathOf(shard);
        const file = gguf
          ? await GgufSink.create(path, gguf)
          : await SafetensorsWriter.create(path, shard.tensors, metadata);
        open.push(file);
        for (const tensor of shard.tensors) await stream.add(tensor, file);
        await stream.after(async () => await file.finish());
      }
    });
    for (const file of open) await file.close();
  } catch (thrown) {
    await Promise.allSettled(open.map((file) => file.close()));
    throw thrown;
  }
  const [first] = open;
  return { reports, blocksError: first instanceof GgufSink ? first.blocksError : undefined };
}

/** Opens what was written. */
async function readBack({ gguf, shards }: PreparedMerge, pathOf: PathOf, files: AsyncDisposableStack) {
  const [first] = shards;
  return gguf === undefined || first === undefined
    ? await openWritten(shards, pathOf, (file) => files.use(file))
    : await openWrittenGguf(pathOf(first), gguf, (file) => files.use(file));
}

/** Wall-clock seconds by stage; stages follow each other without gaps. */
export class StageClock {
  readonly #start = performance.now();
  readonly #stages: Record<string, number> = {};
  #last = this.#start;

  /** Ends the stage that began when the one before it ended. */
  end(name: string): void {
    const now = performance.now();
    this.#stages[name] = (this.#stages[name] ?? 0) + (now - this.#last) / 1000;
    this.#last = now;
  }

  /** Every stage, and `total`. */
  stages(): Record<string, number> {
    return { total: (performance.now() - this.#start) / 1000, ...this.#stages };
  }
}
