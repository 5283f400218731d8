import { basename, resolve } from "node:path";
import type { BaseModel } from "../../base/base.ts";
import { openBase } from "../../base/open-base.ts";
import { stayingTied } from "../../base/replacements.ts";
import { openAdapter } from "../../formats/open.ts";
import { planAdapter } from "../../methods.ts";
import type { AdapterPlan } from "../../method/plan.ts";
import type { Adapter } from "../../files/adapter.ts";
import { RandloraError } from "../../../files/errors.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import type { PublicationOptions } from "../../../files/publish.ts";
import { modelFolderObjection } from "../../../files/model-files.ts";
import { planShards, type PlannedShard } from "../../../files/safetensors/shards.ts";
import { plannedBytes } from "../../../files/safetensors/writer.ts";
import { ggufModel } from "../to-gguf/ask.ts";
import { type GgufPlan, planGguf } from "../to-gguf/plan.ts";
import { combining, onePerAdapter } from "../combine/wish.ts";
import { missingConfig, type ModelConfig } from "../../../models/folder/config-json.ts";
import { namesIn } from "../../../models/folder/copy.ts";
import { isLoneFile, writeModelFiles } from "./output.ts";
import { type MergePlan, type OutputTensor, planMerge } from "../plan.ts";
import { StageClock } from "./stages.ts";
import { noteOfBlocks } from "../trained-in-blocks.ts";
import type { MergeObserver, MergeOptions, MergeSummary } from "./types.ts";

/** A merge of which everything is known but the values: what is read, and what will be written. */
export interface PreparedMerge {
  readonly options: MergeOptions;
  /** Absolute. */
  readonly out: string;
  readonly checkpoint: Checkpoint;
  readonly config: ModelConfig | undefined;
  /** Of the adapters as they are given. */
  readonly plans: readonly AdapterPlan[];
  /** What is merged, with factors: the same, or a combination of them. */
  readonly applied: ReturnType<typeof combining>;
  readonly plan: MergePlan;
  /** Where the output is a GGUF file. */
  readonly gguf: GgufPlan | undefined;
  /** Is the output one file? */
  readonly isFile: boolean;
  readonly shards: readonly PlannedShard<OutputTensor>[];
  readonly summary: Pick<MergeSummary, "out" | "tensors" | "merged" | "combine" | "bytes" | "bases">;
  /** What the output must be checked for before it is begun. */
  readonly checks: PublicationOptions;
  readonly observer: MergeObserver;
  readonly signal: AbortSignal;
  readonly clock: StageClock;
  /** Closes what was opened. */
  readonly resources: AsyncDisposableStack;
}

/** Opens base and adapters, and plans the output. @throws RandloraError naming file, tensor and cause */
export async function prepareMerge(
  options: MergeOptions,
  observer: MergeObserver,
  signal: AbortSignal,
  resources: AsyncDisposableStack,
): Promise<PreparedMerge> {
  const clock = new StageClock();
  const weights = onePerAdapter("scale", options.scales, options.adapters, 1).map((one) =>
    options.unmerge ? -one : one,
  );
  const out = resolve(options.out);
  const { checkpoint, config, base } = resources.use(await openBase(options.base));
  const plans = await planAdapters(options, base, (adapter) => resources.use(adapter));
  for (const { notes } of plans) for (const note of notes) observer.warn(note);
  for (const path of options.adapters) for (const note of await noteOfBlocks(path)) observer.warn(note);
  const model = await ggufModel(options, out, checkpoint);
  const applied = combining(plans, weights, options);
  const merged = planMerge(checkpoint, base, applied.plans, model?.dtypeOf.bind(model) ?? options.dtype);
  const gguf = model && planGguf(merged.untied ? model.untied() : model, merged.tensors, checkpoint);
  const plan = gguf ? { ...merged, tensors: merged.tensors.filter(({ name }) => gguf.tensors.has(name)) } : merged;
  for (const note of [...plan.notes, ...(gguf?.notes ?? [])]) observer.warn(note);
  const isFile = gguf !== undefined || (await isLoneFile(options.base));
  if (!isFile && config === undefined) throw missingConfig(checkpoint.folder);
  const shards = isFile
    ? [{ file: basename(out), tensors: plan.tensors }]
    : planShards(plan.tensors, options.maxShardSize);
  const combine = options.combine?.how ?? "sum";
  const summary = { ...summarise(plan, plans, out), combine, ...(gguf && { bytes: gguf.bytes }) };
  clock.end("plan");
  const names = await namesIn(checkpoint.folder);
  const checks: PublicationOptions = {
    kind: isFile ? "file" : "folder",
    force: options.force,
    inputs: inputsOf(checkpoint, config, plans),
    objection: (entries) => modelFolderObjection(entries, names),
  };
  const about = { options, out, checkpoint, config, plans, applied, plan, gguf, isFile, shards, summary, checks };
  return { ...about, observer, signal, clock, resources };
}

/** Writes everything but the weights. @param target the output's real path @param folder where to */
export async function writeOtherFiles(merge: PreparedMerge, target: string, folder: string): Promise<void> {
  const { options, checkpoint, config, isFile, plan, gguf, shards, observer, clock } = merge;
  if (!isFile && config !== undefined) {
    await writeModelFiles({ checkpoint, target, folder, config, dtype: options.dtype, plan, shards, observer });
  } else if (plan.untied && gguf === undefined) {
    observer.warn('the output embedding is no longer tied: set "tie_word_embeddings": false in config.json');
  }
  clock.end("files");
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
    plans.push(await stayingTied(plan, base));
  }
  return plans;
}

function summarise(plan: MergePlan, plans: readonly AdapterPlan[], out: string) {
  return {
    out,
    tensors: plan.tensors.length,
    merged: plan.merged,
    bytes: bytesOf([plan]),
    bases: plans.map(({ bases }) => bases),
  };
}
