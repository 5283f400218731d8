import { Contradiction, RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { contentOf } from "../files/content.ts";
import type { ConversionWish, ConvertedContent } from "../method.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { PlanOptions } from "../plan.ts";
import type { Adapter, AdapterTensor } from "../adapter.ts";

/** A pair of random matrices as a file holds it. */
export interface SavedTensors {
  readonly a: AdapterTensor;
  readonly b: AdapterTensor;
}

/** What a conversion knows of an adapter's random matrices. */
export interface KnownBases {
  /** What draws them; undefined: nobody knows. */
  readonly generator: string | undefined;
  /** Does the file hold them? */
  readonly saved: boolean;
  /** Does PEFT draw the same? */
  readonly peftDraws: boolean;
}

/** What a conversion asks of a method whose random matrices may be in a file, or left to a generator. */
export interface BasesToConvert {
  /** What draws them, as it is recorded or was found out, and how that is written. */
  readonly record: { readonly generator: GeneratorName; readonly dtype: string } | undefined;
  readonly written: JsonObject | undefined;
  /** As the file holds them. */
  readonly saved: SavedTensors | undefined;
  readonly peftDraws: boolean;
  /** Has PEFT such adapters at all? */
  readonly inPeft: boolean;
  /** Draws them; undefined where nothing says how. */
  draw(): Promise<SavedTensors> | undefined;
  isBases(name: string): boolean;
  /** What PEFT's configuration says of bases that are, or are not, in the file. */
  savingProjection(config: JsonObject, saved: boolean): JsonObject;
  /** What the file lacks where they cannot be drawn, and what a result is like that neither holds nor records them. */
  readonly messages: { readonly undrawn: string; readonly unknown: string };
}

/**
 * Decides how random matrices are written. A PEFT folder gets them by default, drawn if need be; an adapter.json gets them
 * only when no generator can redraw them. Everything else stays as it is. Throws `RandloraError` "adapter" when leaving
 * them out would lose them, or when they are wanted and nothing says how to draw them.
 */
export async function convertBases(
  adapter: Adapter,
  { to, projections: wanted }: ConversionWish,
  { record, written, saved, peftDraws, inPeft, messages, ...bases }: BasesToConvert,
): Promise<ConvertedContent> {
  const path = oneLine(adapter.path);
  const projections = wanted ?? (to === "peft" || record === undefined);
  if (!projections) {
    requireRedrawable(adapter, { to }, { generator: record?.generator, saved: saved !== undefined, peftDraws });
  }
  const pair = projections ? (saved ?? (await bases.draw())) : undefined;
  if (wanted === true && pair === undefined) {
    const hint = "leave --projections out: the result is then as complete as the original";
    throw new RandloraError("adapter", `${path}: it neither holds its bases nor records ${messages.undrawn}`, hint);
  }
  const notes: string[] = [];
  if (record === undefined && saved === undefined) notes.push(`${path} ${messages.unknown}`);
  if (to === "peft" && !projections && record !== undefined && inPeft) {
    const only = `PEFT draws the same bases only for a base that is stored in ${record.dtype}`;
    notes.push(`${path}: ${only}: for another, leave --projections no out`);
  }
  const { tensors, config, ...rest } = contentOf(adapter);
  return {
    content: {
      ...rest,
      config: to === "peft" ? bases.savingProjection(config, pair !== undefined) : config,
      bases: written,
      tensors: withBases(tensors, pair, bases.isBases),
    },
    generator: record?.generator,
    projections: pair !== undefined,
    notes,
  };
}

/** Throws `RandloraError` "adapter" where leaving the bases out of the result would lose them. */
export function requireRedrawable(
  { path }: Adapter,
  { to }: Pick<ConversionWish, "to">,
  { generator, saved, peftDraws }: KnownBases,
): void {
  if (generator === undefined && saved) {
    const cause = `${oneLine(path)}: no known generator draws its bases, so leaving them out would lose them`;
    throw new RandloraError("adapter", cause, "leave --projections no out");
  }
  if (to === "peft" && generator !== undefined && !peftDraws) {
    const cause = `${oneLine(path)}: PEFT cannot draw its bases (${generator})`;
    throw new RandloraError("adapter", cause, "leave --projections no out");
  }
}

/** Throws `RandloraError` "usage" for a `--generator` that contradicts the one that drew an adapter's bases. */
export function requireSameGenerator(
  { path }: Adapter,
  recorded: GeneratorName | undefined,
  { generator, amongOthers = false }: PlanOptions,
): void {
  if (recorded === undefined || generator === undefined || generator === recorded || amongOthers) return;
  const cause = `${oneLine(path)} records that ${recorded} drew its bases, not ${generator}`;
  throw new Contradiction(["generator"], cause, "leave --generator out");
}

/** The error for a file that holds other bases than those that it records. */
export function notAsRecorded({ file }: Adapter, generator: string): RandloraError {
  const cause = `${oneLine(file)}: the bases that it holds are not those that it records (${generator})`;
  return new RandloraError("adapter", cause, "the file was changed after it was written: use the original");
}

/** The tensors with this pair of bases in place of what was there, first as PEFT has it; or without any. */
export function withBases(
  tensors: readonly AdapterTensor[],
  pair: SavedTensors | undefined,
  isBases: (name: string) => boolean,
): AdapterTensor[] {
  const others = tensors.filter(({ name }) => !isBases(name));
  return pair === undefined ? others : [pair.a, pair.b, ...others];
}
