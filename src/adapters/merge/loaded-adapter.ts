import { dirname, join } from "node:path";
import type { Device, DeviceBuffer } from "../../compute/device/device.ts";
import { BLOCKS_NAMES, type KernelDtype } from "../../compute/device/dtype.ts";
import type { Finish, WeightRows } from "../../compute/device/families/finish.ts";
import { ownedBy } from "../../compute/device/owned.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { oneLine } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import { readOptionalJsonObject } from "../../files/read-text.ts";
import { SETTINGS_FILE } from "../../files/run-names.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import type { BaseModel } from "../base/base.ts";
import { stayingTied } from "../base/replacements.ts";
import { openAdapter } from "../formats/open.ts";
import type { AdapterPlan, DeltasOnGpu, DeltaSource, LayerDelta, StoredWeight } from "../method/plan.ts";
import { planAdapter } from "../methods.ts";
import type { PlannedDelta } from "./plan.ts";

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

/** One adapter's share of a weight, on the GPU. */
export interface DeltaOnGpu {
  readonly delta: LayerDelta;
  /** See `AdapterPlan`. */
  readonly roundsDelta: boolean;
}

/** The block that is recorded. */
interface BlockRecording extends Pick<Finish, "rows" | "cols" | "pitch"> {
  readonly run: Run;
  readonly firstRow: number;
  readonly allocate: (label: string, bytes: number) => DeviceBuffer;
}

/** What was recorded. */
interface Recorded {
  readonly merged: WeightRows;
  /** Statistics of the whole ΔW. */
  readonly whole: DeviceBuffer;
  /**
   * Statistics of the last step where there were several: they tell whether the result is finite, and neither these nor
   * those of the whole how many weights have changed.
   */
  readonly last: DeviceBuffer | undefined;
}

/** W + Σ ΔW, rounded once to `target`. */
export function recordOnce(
  block: BlockRecording,
  deltas: readonly DeltaOnGpu[],
  weight: WeightRows,
  target: KernelDtype,
): Recorded {
  const merged = rows(block, "merged", target);
  const delta = formed(block, deltas, weight, weight);
  return { merged, whole: finish(block, { weight, delta, target: merged }), last: undefined };
}

/** W + ΔW + ΔW + …, rounded to the dtype of W after each, and each ΔW before where PEFT does so. */
export function recordAsPeft(block: BlockRecording, deltas: readonly DeltaOnGpu[], weight: WeightRows): Recorded {
  let merged = weight;
  let last = weight.buffer;
  for (const one of deltas) {
    const target = rows(block, "merged", weight.dtype);
    const delta = formed(block, [one], weight, merged, weight.dtype);
    last = finish(block, { weight: merged, delta, target, roundDelta: one.roundsDelta });
    merged = target;
  }
  if (deltas.length === 1) return { merged, whole: last, last: undefined };
  // Computed again for what is said of the whole: no step has seen it.
  const delta = formed(block, deltas, weight, weight);
  return { merged, whole: finish(block, { delta, target: rows(block, "sum", "F32") }), last };
}

/** Σ ΔW in f32, of a weight and for what the sum will be added to. */
function formed(
  block: BlockRecording,
  deltas: readonly DeltaOnGpu[],
  weight: WeightRows,
  onto: WeightRows,
  rounding?: KernelDtype,
): DeviceBuffer {
  const { run, firstRow, rows: count, cols, pitch } = block;
  const { buffer: target } = rows(block, "ΔW", "F32");
  const rounded = rounding === undefined ? {} : { rounding };
  const known = { cols, pitch, weight, onto, ...rounded, scratch: () => rows(block, "ΔW of one", "F32").buffer };
  for (const [index, { delta }] of deltas.entries()) {
    delta.form(run, { firstRow, rows: count, target, accumulate: index > 0, ...known });
  }
  return target;
}

/** Returns the statistics. */
function finish(block: BlockRecording, part: Omit<Finish, "rows" | "cols" | "pitch" | "statistics">): DeviceBuffer {
  const { run, allocate, rows: count, cols, pitch } = block;
  const { statistics: bytes } = run.device.scratchBytes("finish", { rows: count, cols });
  const statistics = allocate("statistics", bytes);
  run.compute("finish", { rows: count, cols, pitch, ...part, statistics });
  return statistics;
}

function rows(block: BlockRecording, label: string, dtype: KernelDtype): WeightRows {
  return { buffer: block.allocate(label, block.rows * block.pitch * dtypeBytes(dtype)), dtype };
}

/**
 * For the user, where the adapter of a run (its folder, or one in it) was trained beside quantized weights: it is merged
 * into others. None where nothing says so.
 */
export async function noteOfBlocks(path: string): Promise<readonly string[]> {
  for (const folder of [path, dirname(path)]) {
    // A run.json that cannot be read is no reason not to merge: the adapter says for itself what it is.
    const { quantize } = await readOptionalJsonObject(join(folder, SETTINGS_FILE)).catch(() => ({ quantize: null }));
    const name = BLOCKS_NAMES.find((one) => one === quantize);
    if (name === undefined) continue;
    return [`${oneLine(path)}: trained beside weights in ${name} (--quantize), and merged into the weights as stored`];
  }
  return [];
}
