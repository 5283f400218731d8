import type { JsonObject } from "../../files/lossless-json.ts";
import type { BasesFrom } from "../delta/scaled-bases/place.ts";
import { once } from "../files/once.ts";
import type { Bases, BasesExtent } from "./drawing/bases.ts";
import { userStdCache } from "./drawing/std-cache.ts";
import { takeSteps } from "./drawing/steps.ts";
import { gridOfWeights } from "./grid.ts";
import type { FrozenKind, FrozenRecord, FrozenSettings, SavedTensors } from "./kind.ts";
import { type FrozenOrigin, loadFrozen } from "./origin.ts";
import { drawTensors, originAs } from "./tensors.ts";

/** The random matrices of an adapter that is trained. */
export interface FrozenInTraining {
  readonly bases: Bases;
  /** Drawn matrices and the same ones out of a file may be stored differently, and then products round differently. */
  readonly basesFrom: BasesFrom;
  /** What draws them, where that is known. */
  readonly record: JsonObject | undefined;
  /** As PEFT saves them. */
  projections(): Promise<SavedTensors>;
  /** Whether they must be saved: PEFT would not draw them, or nobody could. */
  readonly needsProjections: boolean;
}

/** What is known of them before. */
export interface FrozenToOpen<C, Z, R> {
  /** The adapter's file, for messages. */
  readonly file: string;
  readonly config: C;
  readonly origin: FrozenOrigin<Z, R>;
  /** What the file records. */
  readonly record: R | undefined;
  /** Where a resumed run had them from; undefined: `origin`. */
  readonly from: BasesFrom | undefined;
  readonly extent: BasesExtent;
  /** Stored dtypes of the adapted weights. */
  readonly stored: readonly string[];
}

/** Loads them. @throws RandloraError as {@link loadFrozen}; the signal's reason when it is aborted */
export async function openFrozen<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  { file, config, extent, stored, record: known, ...given }: FrozenToOpen<C, Z, R>,
  signal: AbortSignal | undefined,
  complete = (record: R): R => record,
): Promise<FrozenInTraining> {
  const origin = await originAs(kind, given.from, given.origin, known, config);
  // First, so that the record finds the standard deviations in the cache.
  const bases = await loadFrozen(kind, file, origin, config, extent, { signal });
  const drawn = async (): Promise<R | undefined> => {
    if (origin.kind === "saved") return known;
    if (origin.record !== undefined) return origin.record;
    const print = await takeSteps(kind.print(origin.drawn, config, userStdCache()), signal);
    return complete(kind.record(origin.drawn, print));
  };
  const record = await drawn();
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
