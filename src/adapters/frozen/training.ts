import type { FloatGrid, GeneratorName } from "../../compute/random/names.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import type { Adapter, AdapterContent } from "../files/adapter.ts";
import type { AdaptedLayer } from "../base/targets.ts";
import type { Targets } from "../base/target-modules.ts";
import type { MethodChoices } from "../method/training.ts";
import { type Bases, type BasesExtent, takeSteps } from "./drawing/bases.ts";
import { userStdCache } from "../files/std-cache.ts";
import {
  gridOfHeld,
  gridOfWeights,
  type FrozenKind,
  type FrozenRecord,
  type FrozenSettings,
  type SavedTensors,
} from "./kind.ts";
import { type BasesFrom, type FrozenOrigin, loadFrozen } from "./origin.ts";
import { drawTensors, originAs } from "./convert.ts";

/** A function that makes its value when it is first asked for, and keeps it. */
export function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** The random matrices of an adapter that is trained. */
export interface FrozenInTraining {
  readonly bases: Bases;
  readonly basesFrom: BasesFrom;
  /** What draws them, where that is known. */
  readonly record: JsonObject | undefined;
  /** As PEFT saves them. */
  projections(): Promise<SavedTensors>;
  /** Whether they must be saved: PEFT would not draw them, or nobody could. */
  readonly needsProjections: boolean;
}

/** What is known of them before. */
interface FrozenToOpen<C, Z, R> {
  readonly adapter: Adapter;
  readonly config: C;
  readonly origin: FrozenOrigin<Z, R>;
  /** What the file records. */
  readonly record: R | undefined;
  readonly extent: BasesExtent;
  readonly layers: readonly AdaptedLayer[];
}

/** What draws the matrices of a new adapter beside a base that is held as `held`. */
export function freshlyDrawn(
  { generator }: { readonly generator: GeneratorName | null },
  held: FloatGrid | "keep",
  { modules }: Targets,
): { readonly generator: GeneratorName; readonly dtype: FloatGrid } {
  if (generator === null) throw new TypeError("a new adapter without a generator");
  const stored = modules.map((module) => module.dtype);
  return { generator, dtype: gridOfHeld(held, stored) };
}

/** Where a resumed run had its matrices from; states of earlier versions do not say. */
export function parseBasesFrom(choices: MethodChoices | undefined): BasesFrom | undefined {
  const bases = choices?.["bases"];
  return bases === "drawn" || bases === "saved" ? bases : undefined;
}

/**
 * Loads them.
 * @param from where a resumed run had them from; undefined: as the adapter says
 * @throws RandloraError as {@link loadFrozen}; the signal's reason when it is aborted
 */
export async function openFrozen<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  { adapter, config, extent, layers, record: known, origin: given }: FrozenToOpen<C, Z, R>,
  from: BasesFrom | undefined,
  signal: AbortSignal | undefined,
  complete = (record: R): R => record,
): Promise<FrozenInTraining> {
  const origin = await originAs(kind, from, given, known, config);
  // First, so that the record finds the standard deviations in the cache.
  const bases = await loadFrozen(kind, adapter.file, origin, config, extent, { signal });
  const drawn = async (): Promise<R | undefined> => {
    if (origin.kind === "saved") return known;
    if (origin.record !== undefined) return origin.record;
    const print = await takeSteps(kind.print(origin.drawn, config, userStdCache()), signal);
    return complete(kind.record(origin.drawn, print, config));
  };
  const record = await drawn();
  const stored = layers.map(({ dtype }) => dtype);
  return {
    bases,
    basesFrom: origin.kind,
    record: record && kind.format(record),
    projections: once(async () => (origin.kind === "saved" ? origin.saved : drawTensors(kind, origin.drawn, config))),
    needsProjections: record === undefined || !drawsAlike(kind, record, stored),
  };
}

/**
 * Would PEFT draw this very pair beside a base whose adapted weights are stored in these dtypes? It rounds to the grid
 * of the checkpoint, not to that in which the base was held in training.
 */
export function drawsAlike<R extends Pick<FrozenRecord, "dtype">>(
  { peftDraws }: { peftDraws(record: R): boolean },
  record: R,
  dtypes: Iterable<string>,
): boolean {
  return peftDraws(record) && record.dtype === gridOfWeights(dtypes);
}

/** What is written of an adapter: `content`, and the pair where it is wanted or must be saved. */
export async function contentWithPair(
  { needsProjections, projections }: FrozenInTraining,
  wanted: boolean,
  content: (saved: boolean) => Promise<AdapterContent>,
): Promise<AdapterContent> {
  if (!wanted && !needsProjections) return await content(false);
  const [whole, { a, b }] = [await content(true), await projections()];
  return { ...whole, tensors: [a, b, ...whole.tensors] };
}
