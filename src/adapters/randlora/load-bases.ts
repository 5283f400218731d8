import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import type { Adapter } from "../adapter.ts";
import { drawSteps, fingerprint } from "../frozen/drawing/draw.ts";
import { fromProjections } from "../frozen/drawing/saved.ts";
import type { Bases, BasesExtent } from "../frozen/drawing/bases.ts";
import type { BasesSource } from "./generator.ts";
import type { BasesRecord } from "./record.ts";
import { toProjection } from "../frozen/projection.ts";
import { type StdCache, userStdCache } from "../frozen/drawing/std-cache.ts";
import { takeSteps } from "../frozen/drawing/steps.ts";

/** How bases are loaded. */
export interface LoadOptions {
  /** The user's by default. */
  readonly cache?: StdCache;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads or draws the bases of `adapter` as far as `extent` needs them. Drawn ones must agree with the recorded
 * fingerprint. Throws `RandloraError` "adapter" when they do not, whatever reading and drawing throw, and the signal's
 * reason when it is aborted.
 */
export async function loadBases(
  adapter: Adapter,
  source: BasesSource,
  r: number,
  extent: BasesExtent,
  { cache = userStdCache(), signal }: LoadOptions = {},
): Promise<Bases> {
  if (source.kind === "saved") {
    return fromProjections(
      toProjection(source.a, adapter.file),
      toProjection(source.b, adapter.file),
      r,
      extent,
      signal,
    );
  }
  const { spec, record } = source;
  if (record === undefined) return takeSteps(drawSteps(spec, extent, cache), signal);
  const trusting = withRecorded(cache, record);
  const bases = await takeSteps(drawSteps(spec, extent, trusting), signal);
  const { sha256 } = fingerprint(spec, trusting);
  if (sha256.a === record.sha256.a && sha256.b === record.sha256.b) return bases;
  const cause = `the bases that ${record.generator} draws are not those that the adapter records`;
  const hint = "its seed, rank or shape was changed, or another version of randlora wrote it";
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
}

/** Recorded deviations spare a pass over the whole stream; the fingerprint, which depends on them, proves them. */
function withRecorded(cache: StdCache, { stdA, stdB }: BasesRecord): StdCache {
  const recorded = stdA === undefined || stdB === undefined ? null : { a: stdA, b: stdB };
  // What nobody has measured does not belong into the cache.
  return recorded === null ? cache : { get: () => recorded, set: () => {} };
}
