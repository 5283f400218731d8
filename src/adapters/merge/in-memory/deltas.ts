import type { Device } from "../../../compute/device/device.ts";
import { methodOfAdapter, planAdapter } from "../../methods.ts";
import { openAdapter } from "../../formats/open.ts";
import { type AdaptedLayer, layerOf } from "../../base/layers.ts";
import type { AdapterPlan } from "../../method/plan.ts";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import type { GeneratorName } from "../../../compute/random/names.ts";
import { type FormedDelta, formDelta, readWeight } from "./form-delta.ts";
import { type FindBase, openNamedBase } from "../../base/named-base.ts";
import { loadAdapter } from "../loaded-adapter.ts";

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

function isTooLarge({ out, in: input }: AdaptedLayer): boolean {
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
