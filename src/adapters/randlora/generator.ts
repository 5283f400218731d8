import { RandloraError } from "../../files/errors.ts";
import { canDraw, GENERATOR_NAMES, type GeneratorName, type Sparsity } from "../../compute/random/names.ts";
import { oneLine } from "../../files/failure.ts";
import type { BaseModel, PathShift } from "../base/base.ts";
import type { AdaptedLayer } from "../base/layers.ts";
import { unadaptedModules, unadaptedNote } from "../base/unadapted.ts";
import { requireSameGenerator } from "../frozen/saved-bases.ts";
import type { Adapter } from "../adapter.ts";
import type { BasesSpec } from "../frozen/drawing/bases.ts";
import type { RandloraConfig } from "./config.ts";
import type { Pairing } from "../../compute/device/pairing.ts";
import { gridOfLayers } from "../frozen/grid.ts";
import { type BasesRecord, parseBasesRecord } from "./record.ts";
import { findSaved, type SavedPair } from "./saved.ts";

/** Where the bases of an adapter come from. */
export type BasesSource =
  | { readonly kind: "drawn"; readonly spec: BasesSpec; readonly record: BasesRecord | undefined }
  | ({ readonly kind: "saved" } & SavedPair);

/** The decision, with what the user should know about it. */
export interface BasesChoice {
  readonly bases: BasesSource;
  readonly pairing: Pairing;
  readonly notes: readonly string[];
}

/** What decides. */
export interface BasesQuestion {
  readonly adapter: Adapter;
  readonly config: RandloraConfig;
  readonly base: BaseModel;
  readonly shift: PathShift;
  readonly layers: readonly AdaptedLayer[];
  /** `--generator`. */
  readonly generator: GeneratorName | undefined;
  /** Is this one of several adapters? Then `--generator` may be meant for another. */
  readonly amongOthers: boolean;
}

/**
 * Saved bases are used; else what the file records; else what the user names; else, for sparse bases, the one generator
 * that PEFT has for them. Dense bases of which nothing is known are refused, never guessed.
 * Among several adapters `--generator` is for those that do not say, as far as it can draw their bases.
 * Throws `RandloraError` "usage" when `--generator` contradicts the file, "adapter" when nothing says how to draw.
 */
export function chooseBases(question: BasesQuestion): BasesChoice {
  const { adapter, config, generator, layers, amongOthers } = question;
  const record = adapter.bases === undefined ? undefined : parseBasesRecord(adapter.bases, adapter.file);
  const pairing = record?.pairing ?? "peft";
  requireSameGenerator(adapter, record?.generator, question);
  const saved = findSaved(adapter, config.r);
  if (saved !== undefined) {
    const unused = `${oneLine(adapter.path)} holds its bases: --generator is not needed and has no effect`;
    return {
      bases: { kind: "saved", ...saved },
      pairing,
      notes: generator === undefined || amongOthers ? [] : [unused],
    };
  }
  const { key, r, sparsity } = config;
  if (record !== undefined) {
    if (!canDraw(record.generator, sparsity)) throw unfitGenerator(adapter.file, record.generator, sparsity);
    const spec = {
      generator: record.generator,
      key,
      r,
      max: record.max,
      min: record.min,
      sparsity,
      grid: record.dtype,
    };
    return { bases: { kind: "drawn", spec, record }, pairing, notes: [] };
  }
  const fits = generator !== undefined && (canDraw(generator, sparsity) || !amongOthers);
  const chosen = fits ? generator : sparsity === "dense" ? undefined : "torch-mt19937-ternary";
  if (chosen === undefined) throw unknownGenerator(adapter);
  if (!canDraw(chosen, sparsity)) throw unfitGenerator(adapter.path, chosen, sparsity);
  const { max, min, notes } = drawnShape(question);
  const spec = { generator: chosen, key, r, max, min, sparsity, grid: gridOfLayers(layers, adapter) };
  return { bases: { kind: "drawn", spec, record }, pairing, notes };
}

/** The largest and smallest dimension of bases for layers of these shapes: maxima first, as PEFT takes them. */
export function basesShape(layers: readonly { readonly out: number; readonly in: number }[]): {
  readonly max: number;
  readonly min: number;
} {
  const out = layers.reduce((most, layer) => Math.max(most, layer.out), 0);
  const input = layers.reduce((most, layer) => Math.max(most, layer.in), 0);
  return { max: Math.max(out, input), min: Math.min(out, input) };
}

/** The shape at which PEFT draws: over every module of the base that the targets match, adapted in the file or not. */
function drawnShape(question: BasesQuestion): { max: number; min: number; notes: readonly string[] } {
  const { adapter, config, base, shift, layers } = question;
  const others = unadaptedModules(adapter, config, layers, base, shift);
  const shape = basesShape([...layers, ...others]);
  const own = basesShape(layers);
  const larger = shape.max !== own.max || shape.min !== own.min;
  return { ...shape, notes: unadaptedNote(adapter, base, layers.length, others, larger) };
}

function unfitGenerator(path: string, generator: GeneratorName, sparsity: Sparsity): RandloraError {
  const cause = `its bases are ${sparsity}, and ${generator} does not draw such`;
  const fit = GENERATOR_NAMES.filter((name) => canDraw(name, sparsity));
  return new RandloraError("adapter", `${oneLine(path)}: ${cause}`, `${sparsity} bases are drawn by ${fit.join(", ")}`);
}

function unknownGenerator(adapter: Adapter): RandloraError {
  const cause = "the file holds no bases and does not record which generator drew them";
  const hint = [
    "name it: --generator torch-mt19937-bf16-v2 (trained with a recent PyTorch, 2.13)",
    "torch-mt19937-bf16-v1 (PyTorch up to 2.6)",
    "torch-mt19937-f16-v2 or -v1 (the same on a machine without bf16, such as Apple's)",
    "torch-mt19937-f32 or philox-v1",
  ].join("; ");
  return new RandloraError("adapter", `${oneLine(adapter.path)}: ${cause}`, hint);
}
