import type { BaseModel } from "../../base/base.ts";
import { openBase } from "../../base/open-base.ts";
import { stayingTied } from "../../base/replacements.ts";
import { openAdapter } from "../../formats/open.ts";
import { planAdapter } from "../../methods.ts";
import type { AdapterPlan } from "../../method/plan.ts";
import { type MergePlan, type OutputTensor, planMerge } from "../plan.ts";
import type { OutputDtype } from "../../../files/safetensors/dtype.ts";
import type { GeneratorName } from "../../../compute/random/names.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";

/** An adapter to apply. */
export interface AdapterChoice {
  /** On this machine. */
  readonly path: string;
  /** Multiplies α/r. */
  readonly scale: number;
}

/** What adapters make of a checkpoint; no tensor has been read yet. */
export interface AdaptersPlan {
  /** One an adapter, in order. */
  readonly plans: readonly AdapterPlan[];
  /** Every tensor as `merge` would write it. */
  readonly plan: MergePlan;
  /** Those of them that adapters change or add. */
  readonly changes: readonly OutputTensor[];
}

/**
 * Decides what happens to each tensor; the adapters stay open as long as `resources`.
 * @throws RandloraError `adapter` with the reason why one cannot be applied; `file`, `format`
 */
export async function planAdapters(
  checkpoint: Checkpoint,
  base: BaseModel,
  choices: readonly AdapterChoice[],
  {
    generator,
    dtype = "keep",
  }: { readonly generator?: GeneratorName | undefined; readonly dtype?: OutputDtype | undefined },
  resources: AsyncDisposableStack,
): Promise<AdaptersPlan> {
  const plans: AdapterPlan[] = [];
  for (const { path } of choices) {
    const adapter = resources.use(await openAdapter(path));
    const plan = planAdapter(adapter, base, { generator, amongOthers: choices.length > 1 });
    plans.push(await stayingTied(plan, base));
  }
  const plan = planMerge(checkpoint, base, plans, dtype);
  // Another dtype alone is no change: the decoder holds what is left alone as it was loaded.
  const changes = plan.tensors.filter(({ name, work }) => {
    if (work.kind === "convert") return work.source.fromAdapter || !checkpoint.tensors.has(name);
    return work.kind === "merge";
  });
  return { plans, plan, changes };
}

/**
 * The same for one adapter of a checkpoint that is not open: what it changes, before anything is loaded, and to what of that, stored in blocks, it adds ΔW.
 * @param path of the checkpoint
 * @throws RandloraError as `planAdapters`
 */
export async function planOneAdapter(
  path: string,
  adapter: AdapterChoice,
  generator: GeneratorName | undefined,
): Promise<Pick<MergePlan, "untied"> & Pick<AdaptersPlan, "changes"> & { readonly inBlocks: ReadonlySet<string> }> {
  await using resources = new AsyncDisposableStack();
  const { checkpoint, base } = resources.use(await openBase(path));
  const { plan, changes } = await planAdapters(checkpoint, base, [adapter], { generator }, resources);
  const isInBlocks = ({ name, work }: OutputTensor) =>
    work.kind === "merge" && checkpoint.tensors.get(name)?.info.blocks !== undefined;
  return { untied: plan.untied, changes, inBlocks: new Set(changes.filter(isInBlocks).map(({ name }) => name)) };
}
