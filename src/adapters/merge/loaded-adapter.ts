import type { Device } from "../../compute/device/device.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import { itemAt } from "../../files/item-at.ts";
import type { BaseModel } from "../base/base.ts";
import { stayingTied } from "../base/replacements.ts";
import { openAdapter } from "../formats/open.ts";
import type { AdapterPlan, DeltaSource, DeltasOnGpu, StoredWeight } from "../method/plan.ts";
import { planAdapter } from "../methods.ts";
import type { PlannedDelta } from "./plan.ts";
import type { DeltaOnGpu } from "./record-deltas.ts";

/** An adapter to apply. */
export interface AdapterChoice {
  /** On this machine. */
  readonly path: string;
  /** Multiplies α/r. */
  readonly scale: number;
}

/** An adapter that was fitted to a base, and what its ΔW are multiplied by: `--scale`, negative for an unmerge. */
export interface AppliedAdapter {
  readonly plan: AdapterPlan;
  readonly factor: number;
}

/** The same, ready on the device. */
export interface LoadedAdapter extends AppliedAdapter {
  readonly deltas: DeltasOnGpu;
  /** In memory, for a verification; by default it is not kept. */
  readonly source?: DeltaSource | undefined;
}

export interface LoadOptions {
  readonly signal?: AbortSignal | undefined;
  /** No tensor will be asked for that ΔW is added to. */
  readonly withoutDeltas?: boolean | undefined;
  readonly keepsSource?: boolean | undefined;
  /** Told when random matrices are drawn, and when they are on the device. */
  readonly onStage?: ((stage: "bases" | "device") => void) | undefined;
}

/**
 * Fits adapters to a base; they stay open as long as `resources`.
 * @param check refuses one for reasons of the caller's
 * @throws RandloraError `adapter` with the reason why one cannot be applied; `file`, `format`
 */
export async function planAdapters(
  paths: readonly string[],
  base: BaseModel,
  generator: GeneratorName | undefined,
  resources: AsyncDisposableStack,
  check?: (plan: AdapterPlan) => void,
): Promise<AdapterPlan[]> {
  const plans: AdapterPlan[] = [];
  for (const path of paths) {
    const adapter = resources.use(await openAdapter(path));
    const plan = planAdapter(adapter, base, { generator, amongOthers: paths.length > 1 });
    check?.(plan);
    plans.push(await stayingTied(plan, base));
  }
  return plans;
}

/**
 * Reads or draws what an adapter's layers share, and puts it on the device.
 * @param gpu is opened while bases are drawn
 * @param owner owns what is uploaded
 * @throws RandloraError as `AdapterPlan.load`; the signal's reason when it is aborted
 */
export async function loadAdapter(
  { plan, factor }: AppliedAdapter,
  gpu: Device | Promise<Device>,
  owner: AsyncDisposableStack,
  { signal, keepsSource = false, onStage }: LoadOptions = {},
): Promise<LoadedAdapter> {
  signal?.throwIfAborted();
  const source = await plan.load(signal);
  onStage?.("bases");
  const deltas = await source.upload(ownedBy(owner, await gpu));
  onStage?.("device");
  return { plan, factor, deltas, source: keepsSource ? source : undefined };
}

/** Reads and uploads what every adapter has for one weight; the caller releases each ΔW. */
export async function uploadDeltas(
  adapters: readonly LoadedAdapter[],
  planned: readonly PlannedDelta[],
  weight: StoredWeight,
): Promise<DeltaOnGpu[]> {
  const uploaded: DeltaOnGpu[] = [];
  try {
    for (const { adapter, index } of planned) {
      const { plan, deltas, factor } = itemAt(adapters, adapter);
      uploaded.push({ delta: await deltas.layer(index, factor, weight), roundsDelta: plan.roundsDelta });
    }
    return uploaded;
  } catch (thrown) {
    for (const { delta } of uploaded) delta.release();
    throw thrown;
  }
}
