import { basename, resolve } from "node:path";
import type { WorkSurface } from "../../../terminal/progress.ts";
import { openBase } from "../../base/named-base.ts";
import type { AdapterPlan } from "../../method/plan.ts";
import { RandloraError } from "../../../files/errors.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import type { PublicationOptions } from "../../../files/publish.ts";
import { modelFolderObjection } from "../../../files/model-files.ts";
import type { OutputDtype } from "../../../files/safetensors/dtype.ts";
import { type PlannedShard, planShards } from "../../../files/safetensors/shards.ts";
import { plannedBytes } from "../../../files/safetensors/writer.ts";
import { ggufModel } from "../to-gguf/model.ts";
import { type GgufPlan, planGguf } from "../to-gguf/sink.ts";
import { withoutIntruders } from "../combine/intruders.ts";
import { combining, onePerAdapter } from "../combine/plans.ts";
import { missingConfig, type ModelConfig } from "../../../models/folder/config-json.ts";
import { namesIn } from "../../../models/folder/copy.ts";
import { isLoneFile, writeModelFiles } from "./output.ts";
import { labelsOf } from "../heads.ts";
import { MergedCheckpoint, noteOfBlocks } from "../merged-checkpoint.ts";
import type { MergePlan, OutputTensor } from "../plan.ts";
import type { MergeOptions, MergeSummary } from "./options.ts";

/** A merge of which everything is known but the values: what is read, and what will be written. */
export interface PreparedMerge {
  /** Absolute. */
  readonly out: string;
  /** Not loaded; whoever loads it disposes of it before the device. */
  readonly merged: MergedCheckpoint;
  /** What is written of it. */
  readonly plan: MergePlan;
  /** Where the output is a GGUF file. */
  readonly gguf: GgufPlan | undefined;
  /** Is the output one file? */
  readonly isFile: boolean;
  readonly shards: readonly PlannedShard<OutputTensor>[];
  readonly summary: Pick<MergeSummary, "out" | "tensors" | "merged" | "combine" | "bytes" | "bases" | "intruders">;
  /** What the output must be checked for before it is begun. */
  readonly checks: PublicationOptions;
}

/** Opens base and adapters, and plans the output. @throws RandloraError naming file, tensor and cause */
export async function prepareMerge(
  options: MergeOptions,
  { log }: Pick<WorkSurface, "log">,
  resources: AsyncDisposableStack,
): Promise<PreparedMerge> {
  const weights = onePerAdapter("scale", options.scales, options.adapters, 1).map((one) =>
    options.unmerge ? -one : one,
  );
  const out = resolve(options.out);
  const base = resources.use(await openBase(options.base));
  const { checkpoint, config } = base;
  const model = await ggufModel(options, out, checkpoint);
  const { reduceIntruders: kept, generator } = options;
  const intruders: number[] = [];
  const choices = options.adapters.map((path, index) => ({ path, scale: itemAt(weights, index) }));
  const merged = await MergedCheckpoint.open(base, choices, {
    generator,
    dtype: model?.dtypeOf.bind(model) ?? options.dtype,
    check: options.unmerge ? refuseUnmerge : undefined,
    apply: (plans) =>
      combining(plans, weights, options).map(({ plan, factor }) => ({
        plan: kept === undefined ? plan : withoutIntruders(plan, kept, (count) => intruders.push(count)),
        factor,
      })),
  });
  resources.use(merged);
  const { plan: whole, plans } = merged;
  for (const note of merged.notes) log.warn(note);
  for (const path of options.adapters) for (const note of await noteOfBlocks(path)) log.warn(note);
  const gguf = model && planGguf(whole.untied ? model.untied() : model, whole.tensors, checkpoint);
  const plan = gguf ? { ...whole, tensors: whole.tensors.filter(({ name }) => gguf.tensors.has(name)) } : whole;
  for (const note of [...plan.notes, ...(gguf?.notes ?? [])]) log.warn(note);
  const isFile = gguf !== undefined || (await isLoneFile(options.base));
  if (!isFile && config === undefined) throw missingConfig(checkpoint.folder);
  const shards = isFile
    ? [{ file: basename(out), tensors: plan.tensors }]
    : planShards(plan.tensors, options.maxShardSize);
  const combine = options.combine?.how ?? "sum";
  const { tensors, merged: count } = plan;
  const bytes = gguf?.bytes ?? bytesOf([plan]);
  const bases = plans.map((one) => one.bases);
  const summary = {
    out,
    tensors: tensors.length,
    merged: count,
    bytes,
    bases,
    combine,
    intruders: kept === undefined ? undefined : intruders,
  };
  const names = await namesIn(checkpoint.folder);
  const checks: PublicationOptions = {
    kind: isFile ? "file" : "folder",
    force: options.force,
    inputs: inputsOf(checkpoint, config, plans),
    objection: (entries) => modelFolderObjection(entries, names),
  };
  return { out, merged, plan, gguf, isFile, shards, summary, checks };
}

/** Writes everything but the weights. @param target the output's real path @param folder where to */
export async function writeOtherFiles(
  { merged, isFile, plan, gguf, shards }: PreparedMerge,
  dtype: OutputDtype,
  target: string,
  folder: string,
  { log }: Pick<WorkSurface, "log">,
): Promise<void> {
  const { checkpoint, config } = merged.base;
  if (!isFile && config !== undefined) {
    const labels = plan.head && (await labelsOf(plan.head));
    const head = plan.head && labels && { ...plan.head, labels };
    const changes = { dtype, untied: plan.untied, head };
    const warn = (line: string): void => log.warn(line);
    await writeModelFiles({ checkpoint, target, folder, config, changes, shards, warn });
  } else if (plan.untied && gguf === undefined) {
    log.warn('the output embedding is no longer tied: set "tie_word_embeddings": false in config.json');
  }
}

/** Bytes of tensors. */
export function bytesOf(shards: readonly Pick<PlannedShard, "tensors">[]): number {
  return shards.flatMap(({ tensors }) => tensors).reduce((sum, tensor) => sum + plannedBytes(tensor), 0);
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

/** Throws `RandloraError` "adapter" for one that cannot be taken off again. */
function refuseUnmerge({ adapter, replacements: [replaced], rescales }: AdapterPlan): void {
  if (replaced !== undefined) {
    const cause = `it replaces tensor ${quote(replaced.tensor)} whole, and does not hold what was there before`;
    const hint = "only ΔW can be subtracted: use the original model";
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
  }
  if (rescales !== true) return;
  const cause = "its ΔW depends on the original weights, which a merged model no longer has";
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "use the original model");
}
