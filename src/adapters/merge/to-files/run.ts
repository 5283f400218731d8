import { join } from "node:path";
import { requireSpace } from "../../../files/disk.ts";
import { Publication } from "../../../files/publish.ts";
import type { PlannedShard } from "../../../files/safetensors/shards.ts";
import { bytesOf, prepareMerge, writeOtherFiles } from "./prepare.ts";
import { ShardWriter } from "./shard-writer.ts";
import { type MergeObserver, type MergeOptions, type MergeSummary, NOTHING_DONE } from "./types.ts";

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
  await using resources = new AsyncDisposableStack();
  const prepared = await prepareMerge(options, observer, signal, resources);
  const { out, isFile, shards, plan, summary, checks, clock } = prepared;
  const publication = resources.use(await Publication.begin(out, checks));
  await requireSpace(publication.target, summary.bytes);
  // Only now: a dry run refuses what the merge would refuse. The publication is aborted, which leaves nothing.
  if (options.dryRun) return { ...summary, ...NOTHING_DONE, seconds: clock.stages() };
  await writeOtherFiles(prepared, publication.target, publication.partPath);
  const writer = await ShardWriter.open(prepared);
  observer.start({ bytes: bytesOf(shards), tensors: plan.tensors.length, out });
  const pathOf = ({ file }: PlannedShard): string => (isFile ? publication.partPath : join(publication.partPath, file));
  const { reports, maxErrorUlp } = await writer.write(shards, pathOf);
  signal.throwIfAborted();
  await publication.commit();
  clock.end("publish");
  const { gpu, blocksError } = writer;
  const profile = (await gpu.profiler?.report()) ?? [];
  const [seconds, peakGpuBytes] = [clock.stages(), gpu.memory.peakBytes];
  return { ...summary, gpu: gpu.info.name, reports, maxErrorUlp, blocksError, seconds, peakGpuBytes, profile };
}
