import type { Device } from "../../../compute/device/device.ts";
import { methodOfAdapter, planAdapter } from "../../methods.ts";
import { openAdapter } from "../../formats/open.ts";
import { type AdaptedLayer, layerOf } from "../../base/targets.ts";
import type { AdapterPlan, LayerDelta, StoredWeight } from "../../method/plan.ts";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import type { GeneratorName } from "../../../compute/random/names.ts";
import { type FindBase, openNamedBase } from "../../base/named-base.ts";
import type { LoadedAdapter } from "../merge-tensor.ts";
import { loadAdapter } from "../merged-checkpoint.ts";
import { ownedBy } from "../../../compute/device/owned.ts";
import { BLOCK_ROWS, padded4 } from "../../../compute/device/families/delta.ts";
import type { WeightRows } from "../../../compute/device/families/finish.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { type RowRange, storedWeight } from "../stored-weight.ts";
import { fileSource } from "../plan.ts";
import { widenToF32 } from "../../../files/safetensors/numbers.ts";
import { dtypeBytes } from "../../../files/safetensors/dtype.ts";
import { repitched } from "../../../compute/tensor/repitch.ts";

/** Which ΔW are looked at. */
export interface DeltaChoice {
  /** What draws the bases, where the adapter does not say. */
  readonly generator?: GeneratorName | undefined;
  /** `--layers`; empty: all. */
  readonly layers: readonly number[];
  /** The base that was named; undefined: none was. */
  readonly base?: FindBase | undefined;
  /** Ask for a base even where the adapter's own tensors suffice. */
  readonly onBase?: boolean;
}

/** An adapter whose ΔW can be had one by one. */
export interface OpenDeltas extends AsyncDisposable {
  readonly path: string;
  readonly plan: AdapterPlan;
  /** It was fitted to no base. */
  readonly isAlone: boolean;
  /** Indices of the modules that were chosen, in the order of the file. */
  readonly chosen: readonly number[];
  layer(index: number): AdaptedLayer;
  form(index: number): Promise<FormedDelta>;
  /** W of a module; undefined where the adapter was fitted to no base. @throws RandloraError `file` */
  weight(index: number): Promise<FormedDelta | undefined>;
}

/** Elements of one ΔW that are taken into memory: 2 GiB. */
const MOST_ELEMENTS = 2 ** 29;
/** Rows or columns, the fewer of them: products of all pairs take 2 GiB as well. */
const MOST_SIZE = 2 ** 14;

/**
 * Opens an adapter's ΔW. Without a named base its own tensors give the shapes, else the base that it names, where that is
 * on this machine.
 *
 * @throws RandloraError as `planAdapter`; `adapter` where no base is at hand, and for a ΔW that is too large; `usage` where
 *   no module is in the chosen layers
 */
export async function openDeltas(
  gpu: Device,
  path: string,
  { generator, layers, base: findBase, onBase = false }: DeltaChoice,
  signal?: AbortSignal,
): Promise<OpenDeltas> {
  await using resources = new AsyncDisposableStack();
  const adapter = resources.use(await openAdapter(path));
  const method = methodOfAdapter(adapter);
  const named = adapter.config["base_model_name_or_path"];
  const nameOf = typeof named === "string" ? named : undefined;
  let checkpoint: Checkpoint | undefined;
  const onItsBase = async () => {
    const base = await (findBase?.(nameOf) ?? openNamedBase(path, nameOf));
    if (base !== undefined) {
      ({ checkpoint } = resources.use(base));
      return planAdapter(adapter, base.base, { generator });
    }
    const why = nameOf === undefined ? "it names none" : `${oneLine(nameOf)} is not on this machine`;
    const cause = `its ΔW follow from a base, and ${why}`;
    throw new RandloraError("adapter", `${oneLine(path)}: ${cause}`, "name the model that it is for: --base MODEL");
  };
  const alone = findBase === undefined && !onBase ? method.planAlone?.(adapter) : undefined;
  const plan = alone ?? (await onItsBase());
  const wanted = new Set(layers);
  const isWanted = ({ module }: AdaptedLayer) => wanted.size === 0 || wanted.has(layerOf(module) ?? -1);
  const chosen = plan.layers.flatMap((layer, index) => (isWanted(layer) ? [index] : []));
  if (chosen.length === 0) {
    throw new RandloraError("usage", `--layers ${layers.join(",")}: the adapter has no module there`, "leave it out");
  }
  const large = chosen.map((index) => plan.layers[index]).find((layer) => layer !== undefined && isTooLarge(layer));
  if (large !== undefined) {
    const cause = `ΔW of ${oneLine(large.module)} is [${large.out}, ${large.in}], too large to be looked at`;
    throw new RandloraError("adapter", `${oneLine(path)}: ${cause}`, "choose others: --layers");
  }
  const loaded = await loadAdapter({ plan, factor: 1 }, gpu, resources, { signal });
  const kept = resources.move();
  return {
    path,
    plan,
    isAlone: alone !== undefined,
    chosen,
    layer(index) {
      const layer = plan.layers[index];
      if (layer === undefined) throw new RangeError(`layer ${index} of ${plan.layers.length}`);
      return layer;
    },
    form: async (index) => await formDelta(gpu, loaded, checkpoint, index),
    weight: async (index) => checkpoint && (await readWeight(checkpoint, plan, index)),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Is a weight too large for its singular vectors? */
export function isTooLarge({ out, in: input }: AdaptedLayer): boolean {
  return out * input > MOST_ELEMENTS || Math.min(out, input) > MOST_SIZE;
}

/** Opens two adapters, both on a base where one of them needs one: their modules then have the same names. */
export async function openPair(
  gpu: Device,
  paths: readonly [string, string],
  choice: DeltaChoice,
  signal?: AbortSignal,
): Promise<readonly [OpenDeltas, OpenDeltas]> {
  const needBase = await Promise.all(paths.map(needsBase));
  const all = { ...choice, onBase: needBase.includes(true) };
  const first = await openDeltas(gpu, paths[0], all, signal);
  try {
    return [first, await openDeltas(gpu, paths[1], all, signal)];
  } catch (thrown) {
    await first[Symbol.asyncDispose]();
    throw thrown;
  }
}

/** Do an adapter's own tensors not give the shapes of all W? */
async function needsBase(path: string): Promise<boolean> {
  await using adapter = await openAdapter(path);
  return methodOfAdapter(adapter).planAlone === undefined;
}

/** Bytes of ΔW that are on the GPU at a time, roughly. */
const BLOCK_BYTES = 16 * 2 ** 20;

/** ΔW of one module as its weight is stored, row-major without gaps: the numbers that `merge` adds. */
export interface FormedDelta {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float32Array<ArrayBuffer>;
}

/**
 * ΔW of the adapter's module `index`, in memory.
 *
 * @param checkpoint that it was fitted to; undefined: it was fitted to none
 * @throws RandloraError `numeric` where it is not finite; `file`, `memory`, `gpu`
 */
export async function formDelta(
  gpu: Device,
  { plan, deltas, factor }: LoadedAdapter,
  checkpoint: Checkpoint | undefined,
  index: number,
): Promise<FormedDelta> {
  const layer = plan.layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${plan.layers.length}`);
  const [rows = 0, cols = 0] = layer.shape;
  const weight = weightOf(checkpoint, layer, rows, cols);
  const delta = await deltas.layer(index, factor, weight);
  using _ = { [Symbol.dispose]: () => delta.release() };
  const data = await wholeDelta(gpu, delta, weight, plan.rescales === true);
  if (data.every(Number.isFinite)) return { rows, cols, data };
  const hint = "its parameters are too large for f32, or damaged";
  throw new RandloraError("numeric", `${oneLine(plan.adapter.path)}: ΔW of ${quote(layer.module)} is not finite`, hint);
}

/** All rows of a ΔW without gaps. @param rescales its method is given W */
export async function wholeDelta(
  gpu: Device,
  delta: LayerDelta,
  weight: StoredWeight,
  rescales: boolean,
): Promise<Float32Array<ArrayBuffer>> {
  const { rows, cols } = weight;
  const most = Math.max(1, Math.floor(BLOCK_BYTES / (padded4(cols) * 4 * BLOCK_ROWS))) * BLOCK_ROWS;
  const data = new Float32Array(rows * cols);
  for (let firstRow = 0; firstRow < rows; firstRow += most) {
    const block = { firstRow, rows: Math.min(most, rows - firstRow), cols };
    data.set(await formRows(gpu, delta, block, rescales ? weight : undefined), firstRow * cols);
  }
  return data;
}

/** W of the adapter's module `index`, as {@link formDelta} has ΔW. @throws RandloraError `file` */
async function readWeight(checkpoint: Checkpoint, plan: AdapterPlan, index: number): Promise<FormedDelta> {
  const layer = plan.layers[index];
  if (layer === undefined) throw new RangeError(`layer ${index} of ${plan.layers.length}`);
  const [rows = 0, cols = 0] = layer.shape;
  const weight = weightOf(checkpoint, layer, rows, cols);
  const data = new Float32Array(rows * cols);
  widenToF32(await weight.read(0, rows), weight.dtype, data);
  return { rows, cols, data };
}

/** The weight that ΔW belongs to; zeros where the adapter was fitted to no base, and so asks for none. */
function weightOf(
  checkpoint: Checkpoint | undefined,
  { source }: AdaptedLayer,
  rows: number,
  cols: number,
): StoredWeight {
  if (checkpoint === undefined) {
    return { rows, cols, dtype: "F32", read: async (_, count) => new Uint8Array(count * cols * 4) };
  }
  const { file, info } = checkpoint.get(source);
  return storedWeight(fileSource(file, info), rows, cols);
}

/**
 * Forms a block of rows, and reads it without gaps.
 * @param weight for methods that rescale it
 */
export async function formRows(
  gpu: Device,
  delta: LayerDelta,
  block: RowRange & { readonly cols: number },
  weight?: StoredWeight,
): Promise<Float32Array<ArrayBuffer>> {
  const { firstRow, rows, cols } = block;
  const pitch = padded4(cols);
  using owner = new DisposableStack();
  const { memory } = ownedBy(owner, gpu);
  const target = memory.allocate("ΔW", rows * pitch * 4);
  let onto: WeightRows = { buffer: target, dtype: "F32" };
  if (weight !== undefined) {
    const size = dtypeBytes(weight.dtype);
    const bytes = repitched(await weight.read(firstRow, rows), rows, cols * size, pitch * size);
    onto = { buffer: memory.allocate("weight", bytes.length), dtype: weight.dtype };
    gpu.write(onto.buffer, bytes);
  }
  using run = new Run(gpu);
  const scratch = () => memory.allocate("ΔW of one", rows * pitch * 4);
  delta.form(run, { ...block, pitch, target, weight: onto, onto, scratch });
  await run.submit();
  const range = { buffer: target, offset: 0, size: rows * pitch * 4 };
  return await gpu.readWith([range], async ([bytes = new Uint8Array()]) => {
    // A copy: what is read is gone once this has settled.
    return new Float32Array(repitched(bytes, rows, pitch * 4, cols * 4).slice().buffer);
  });
}
