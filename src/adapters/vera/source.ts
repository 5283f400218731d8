import { sha256OfF32 } from "../../compute/random/sha256.ts";
import type { Bases } from "../frozen/drawing/bases.ts";
import {
  drawFactorHeads,
  drawFactors,
  drawsFactors,
  FACTOR_GENERATORS,
  type FactorsExtent,
  type FactorsSpec,
  savedFactors,
} from "../frozen/drawing/factors.ts";
import { takeSteps } from "../frozen/drawing/steps.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { BaseModel, PathShift } from "../base/base.ts";
import type { AdaptedLayer } from "../base/layers.ts";
import { gridOfLayers } from "../frozen/grid.ts";
import { toProjection } from "../frozen/projection.ts";
import { requireSameGenerator } from "../frozen/saved-bases.ts";
import type { Adapter } from "../adapter.ts";
import { unadaptedModules, unadaptedNote } from "../base/unadapted.ts";
import type { VeraConfig } from "./config.ts";
import { type FactorsRecord, recordOf, specOf } from "./record.ts";
import { findSaved, SAVED_A, SAVED_B, type SavedFactors } from "./saved.ts";

/** Where the factors of an adapter come from. */
export type FactorsSource =
  | { readonly kind: "drawn"; readonly spec: FactorsSpec; readonly record: FactorsRecord | undefined }
  | ({ readonly kind: "saved" } & SavedFactors);

/** The decision, with what the user should know about it. */
export interface FactorsChoice {
  readonly factors: FactorsSource;
  readonly notes: readonly string[];
}

/** What decides. */
export interface FactorsQuestion {
  readonly adapter: Adapter;
  readonly config: VeraConfig;
  readonly base: BaseModel;
  readonly shift: PathShift;
  readonly layers: readonly AdaptedLayer[];
  /** `--generator`. */
  readonly generator: GeneratorName | undefined;
  /** Is this one of several adapters? Then `--generator` may be meant for another. */
  readonly amongOthers: boolean;
}

/**
 * Saved factors are used; else what the file records; else what the user names; else PEFT's one way to draw them.
 * Throws `RandloraError` "usage" when `--generator` contradicts the file, "adapter" where it draws no factors, where the
 * settings promise factors that the file lacks, or where a base of mixed dtypes says nothing of their grid.
 */
export function chooseFactors(question: FactorsQuestion): FactorsChoice {
  const { adapter, config, generator, amongOthers } = question;
  const record = recordOf(adapter);
  requireSameGenerator(adapter, record?.generator, question);
  const saved = findSaved(adapter, config.r);
  if (saved !== undefined) {
    const unused = `${oneLine(adapter.path)} holds its bases: --generator is not needed and has no effect`;
    return { factors: { kind: "saved", ...saved }, notes: generator === undefined || amongOthers ? [] : [unused] };
  }
  if (record !== undefined) return { factors: { kind: "drawn", spec: specOf(record, config), record }, notes: [] };
  return drawnAnew(question);
}

/** Factors of which the file says nothing but the seed: as large as PEFT would draw them for this base. */
function drawnAnew({ adapter, config, base, shift, layers, generator, amongOthers }: FactorsQuestion): FactorsChoice {
  if (config.saveProjection) {
    // PEFT refuses it, too (vera/model.py, _remap_adapter_state_dict_for_load).
    const cause = `"save_projection" is true, but ${quote(SAVED_A)} and ${quote(SAVED_B)} are not in ${oneLine(adapter.file)}`;
    const hint =
      'save the adapter again; if it was saved without them, set "save_projection" to false: they are drawn from the seed';
    throw new RandloraError("adapter", `${oneLine(adapter.configFile)}: ${cause}`, hint);
  }
  const [peft] = FACTOR_GENERATORS;
  const chosen = generator === undefined || (amongOthers && !drawsFactors(generator)) ? peft : generator;
  if (!drawsFactors(chosen)) {
    const cause = `${oneLine(adapter.path)}: ${chosen} does not draw VeRA's factors`;
    throw new RandloraError("adapter", cause, `they are drawn by ${FACTOR_GENERATORS.join(", ")}`);
  }
  const others = unadaptedModules(adapter, config, layers, base, shift);
  const [own, all] = [extentOf(layers), extentOf([...layers, ...others])];
  const notes = unadaptedNote(adapter, base, layers.length, others, own.in !== all.in || own.out !== all.out);
  const dtype = gridOfLayers(layers, adapter);
  const shape = { generator: chosen, maxIn: all.in, maxOut: all.out, dtype };
  return { factors: { kind: "drawn", spec: specOf(shape, config), record: undefined }, notes };
}

/** The most inputs and outputs of these layers: the shape that PEFT draws at. */
export function extentOf(layers: readonly { readonly out: number; readonly in: number }[]): FactorsExtent {
  const most = (of: "in" | "out") => layers.reduce((largest, layer) => Math.max(largest, layer[of]), 0);
  return { in: most("in"), out: most("out") };
}

/**
 * Reads or draws the factors as far as `extent` needs them. Drawn ones must agree with the recorded fingerprint. Throws
 * `RandloraError` "adapter" when they do not, or are too small, whatever reading throws, and the signal's reason when it is aborted.
 */
export async function loadFactors(
  adapter: Adapter,
  source: FactorsSource,
  extent: FactorsExtent,
  signal?: AbortSignal,
): Promise<Bases> {
  if (source.kind === "saved") {
    const [a, b] = [toProjection(source.a, adapter.file), toProjection(source.b, adapter.file)];
    return await savedFactors(a, b, extent, signal);
  }
  const { spec, record } = source;
  if (record !== undefined) {
    const { a, b } = fingerprintOf(spec);
    if (a !== record.sha256.a || b !== record.sha256.b) {
      const cause = `the bases that ${record.generator} draws are not those that the adapter records`;
      const hint = "its seed, rank or shape was changed, or another version of randlora wrote it";
      throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
    }
  }
  return await takeSteps(drawFactors(spec, extent), signal);
}

/** Elements that a fingerprint covers, at most. */
const FINGERPRINT_ELEMENTS = 4096;

function fingerprintOf(spec: FactorsSpec): FactorsRecord["sha256"] {
  const { a, b } = drawFactorHeads(spec, FINGERPRINT_ELEMENTS);
  return { a: sha256OfF32(a), b: sha256OfF32(b) };
}

/** What is saved of drawn factors, so that a later redraw that differs is noticed. */
export function recordFactors(spec: FactorsSpec): FactorsRecord {
  const { generator, maxIn, maxOut, grid } = spec;
  return { generator, maxIn, maxOut, dtype: grid, sha256: fingerprintOf(spec) };
}
