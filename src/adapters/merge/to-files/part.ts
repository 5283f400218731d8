import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { version } from "../../../../package.json";
import { RandloraError } from "../../../files/errors.ts";
import { fingerprint } from "../../../files/safetensors/fingerprint.ts";
import { isOwn, type Job, jobText } from "../../../terminal/options/shared/job.ts";
import { MergeParts } from "./parts.ts";
import { bytesOf, type PreparedMerge, writeOtherFiles } from "./prepare.ts";
import { ShardWriter } from "./shard-writer.ts";
import { StageClock } from "./stages.ts";
import { type MergeSummary, NOTHING_DONE } from "./types.ts";

/**
 * Writes those shards of the output that are one part's and not there yet, each of which appears when it is complete. Where
 * that were the last ones, the output is put together.
 * @throws RandloraError as `merge`; `usage` for an output that is one file, or where parts of another merge are
 */
export async function mergePart(merge: PreparedMerge, job: Job): Promise<MergeSummary> {
  const { options, out, isFile, shards, summary, checks, observer, signal, clock } = merge;
  if (isFile) {
    const cause = `--part ${jobText(job)}: the output is one file`;
    throw new RandloraError("usage", cause, "parts are shards of a folder: merge a model folder into a folder");
  }
  const nothing = { ...summary, ...NOTHING_DONE };
  if (options.dryRun) {
    await MergeParts.check(out, checks);
    return { ...nothing, seconds: clock.stages() };
  }
  const parts = await MergeParts.join(out, checks, { sha256: await identityOf(merge), shards, summary });
  let written = 0;
  let gpu: ShardWriter["gpu"] | undefined;
  if (!(await parts.isFinished())) {
    await parts.putFiles((folder) => writeOtherFiles(merge, parts.out, folder));
    const missing = new Set(await parts.missing());
    const own = shards.filter(({ file }, index) => isOwn(job, index) && missing.has(file));
    const writer = own.length === 0 ? undefined : await ShardWriter.open(merge);
    gpu = writer?.gpu;
    observer.start({ bytes: bytesOf(own), tensors: own.flatMap(({ tensors }) => tensors).length, out });
    for (const shard of own) {
      if (writer === undefined) break;
      await using file = await parts.begin(shard.file);
      await parts.putFigures(shard.file, await writer.write([shard], () => file.partPath));
      signal.throwIfAborted();
      await file.commit();
      written++;
    }
    clock.end("merge");
  }
  const figures = await conclude(parts, options.force);
  clock.end("publish");
  const left = figures === undefined ? (await parts.missing()).length : 0;
  const profile = (await gpu?.profiler?.report()) ?? [];
  const [seconds, peakGpuBytes] = [clock.stages(), gpu?.memory.peakBytes ?? 0];
  return { ...nothing, ...figures, gpu: gpu?.info.name, seconds, peakGpuBytes, profile, part: { job, written, left } };
}

/** The figures of all parts, once the output is there; undefined while shards are missing. */
async function conclude(parts: MergeParts, force: boolean): Promise<Pick<MergeSummary, "reports"> | undefined> {
  if (await parts.isFinished()) {
    await parts.removeAll();
    return { reports: [] };
  }
  return (await parts.missing()).length === 0 ? await parts.finish(force) : undefined;
}

/** `merge --finish`: puts the parts of an output together. @throws RandloraError as `MergeParts` */
export async function finishParts(out: string, force: boolean): Promise<MergeSummary> {
  const clock = new StageClock();
  const parts = await MergeParts.open(out);
  const figures = (await conclude(parts, force)) ?? (await parts.finish(force));
  clock.end("publish");
  return { ...parts.summary, ...NOTHING_DONE, ...figures, out: parts.out, seconds: clock.stages() };
}

/** SHA-256 of all that decides about the output's bytes; of the base as `fingerprint` has it. */
async function identityOf({ options, checkpoint, config, plans, shards }: PreparedMerge): Promise<string> {
  const adapters: string[] = [];
  for (const { adapter } of plans) {
    for (const file of [adapter.configFile, adapter.file]) adapters.push(await hashOf(file));
  }
  const { dtype, rounding, combine, generator, scales, unmerge } = options;
  const settings = { dtype, rounding, combine, generator, scales, unmerge };
  const planned = shards.map(({ file, tensors }) => [file, tensors.map(({ name, shape }) => [name, shape])]);
  const all = [version, await fingerprint(checkpoint), config?.text, adapters, settings, planned];
  return createHash("sha256").update(JSON.stringify(all)).digest("hex");
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(file)) hash.update(piece);
  return hash.digest("hex");
}
