import type { GeneratorName } from "../../compute/random/names.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { type Adapter, contentOf, type AdapterTensor } from "../files/adapter.ts";
import { isShared, sharedName, computedTensor, readF32 } from "../files/tensors.ts";
import type { ConversionWish, ConvertedContent } from "../method/method.ts";
import type { FrozenKind, FrozenRecord, FrozenSettings, SavedTensors, Drawn } from "./kind.ts";
import { findSaved, recordOf, type FrozenOrigin, type LoadOptions } from "./origin.ts";
import { sha256OfF32 } from "../../compute/random/sha256.ts";
import { shapeElements } from "../../files/safetensors/header.ts";
import { userStdCache } from "../files/std-cache.ts";
import { takeSteps } from "./drawing/bases.ts";

/** Elements that a fingerprint covers, at most. */
const HEAD = 4096;
/** Elements compared at a time. */
const PORTION = 1 << 18;

/** Draws the whole of a pair, as the tensors that PEFT saves. Throws the signal's reason when it is aborted. */
export async function drawTensors<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  drawn: Drawn<Z>,
  config: C,
  { cache = userStdCache(), signal }: LoadOptions = {},
): Promise<SavedTensors> {
  const bases = await takeSteps(kind.draw(drawn, config, kind.whole(drawn, config.r), cache), signal);
  const shapes = kind.shapes(drawn, config.r);
  const tensor = (which: "a" | "b", name: string) =>
    computedTensor(sharedName(name), shapes[which], (first, out) => kind.fill(bases, which, first, out));
  return { a: tensor("a", kind.shared[0]), b: tensor("b", kind.shared[1]) };
}

/**
 * Finds the generator that draws exactly this pair, element by element, from the configuration's seed: the pair then need
 * not be stored. `undefined` when none does. The hash of the first elements spares most of the drawing.
 */
async function identify<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  { saved, sizes }: { readonly saved: SavedTensors; readonly sizes: Z },
  config: C,
  options: LoadOptions = {},
): Promise<R | undefined> {
  const { cache = userStdCache(), signal } = options;
  for (const [generator, grids] of kind.candidates(config)) {
    const [a, b] = [
      sha256OfF32(await kind.headOf("a", saved.a, generator, HEAD)),
      sha256OfF32(await kind.headOf("b", saved.b, generator, HEAD)),
    ];
    for (const dtype of grids) {
      const drawn = { ...sizes, generator, dtype };
      const print = await takeSteps(kind.print(drawn, config, cache), signal);
      if (print.sha256.a !== a || print.sha256.b !== b) continue;
      if (!(await samePair(saved, await drawTensors(kind, drawn, config, options)))) continue;
      return kind.record(drawn, print, config);
    }
  }
  return undefined;
}

/** Does the record draw exactly this pair? */
async function recordDraws<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  record: R,
  saved: SavedTensors,
  config: C,
  options: LoadOptions = {},
): Promise<boolean> {
  const { a, b } = kind.shapes(record, config.r);
  if (String([a, b]) !== String([saved.a.shape, saved.b.shape])) return false;
  return samePair(saved, await drawTensors(kind, record, config, options));
}

/** The same pair, drawn or as a file has it: a run's own adapter may hold what was drawn, or leave out what was read. */
export async function originAs<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  wanted: "drawn" | "saved" | undefined,
  origin: FrozenOrigin<Z, R>,
  record: R | undefined,
  config: C,
): Promise<FrozenOrigin<Z, R>> {
  if (wanted === "drawn" && origin.kind === "saved" && record !== undefined) {
    return { kind: "drawn", drawn: record, record };
  }
  if (wanted !== "saved" || origin.kind === "saved") return origin;
  return { kind: "saved", saved: await drawTensors(kind, origin.drawn, config), sizes: origin.drawn };
}

async function samePair(saved: SavedTensors, drawn: SavedTensors): Promise<boolean> {
  return (await sameElements(saved.a, drawn.a)) && (await sameElements(saved.b, drawn.b));
}

/** Bit for bit once widened. */
async function sameElements(one: AdapterTensor, other: AdapterTensor): Promise<boolean> {
  const count = shapeElements(one.shape);
  if (String(one.shape) !== String(other.shape)) return false;
  for (let first = 0; first < count; first += PORTION) {
    const [left, right] = [await readF32(one, first, PORTION), await readF32(other, first, PORTION)];
    if (Buffer.compare(asBytes(left), asBytes(right)) !== 0) return false;
  }
  return true;
}

function asBytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** How an adapter is written whose random matrices may be in its file, or left to a generator. */
interface FrozenConversion<C> {
  readonly config: C;
  /** Has PEFT such adapters at all? */
  readonly inPeft: boolean;
  /** Does PEFT's configuration say whether the pair is in the file? PEFT then redraws it, instead of missing it. */
  readonly saysSaved: boolean;
}

/**
 * Decides how random matrices are written. A PEFT folder gets them by default, drawn if need be; an adapter.json gets them
 * only when no generator can redraw them. Everything else stays as it is. Throws `RandloraError` "adapter" when leaving
 * them out would lose them, or when they are wanted and nothing says how to draw them.
 */
export async function convertFrozen<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  adapter: Adapter,
  wish: ConversionWish,
  { config, inPeft, saysSaved }: FrozenConversion<C>,
): Promise<ConvertedContent> {
  const { to, projections: wanted } = wish;
  const found = findSaved(adapter, config.r, kind);
  const { record, written } = await settleRecord(kind, adapter, wish, config, found);
  const saved = found?.saved;
  const path = oneLine(adapter.path);
  const projections = wanted ?? (to === "peft" || record === undefined);
  if (!projections) requireRedrawable(path, to, kind, record, saved);
  const drawn = () => (record === undefined ? undefined : drawTensors(kind, record, config, wish));
  const pair = projections ? (saved ?? (await drawn())) : undefined;
  if (wanted === true && pair === undefined) {
    const hint = "leave --projections out: the result is then as complete as the original";
    throw new RandloraError("adapter", `${path}: it neither holds its bases nor records ${kind.undrawn}`, hint);
  }
  const notes: string[] = [];
  if (record === undefined && saved === undefined) notes.push(`${path} ${kind.unknown}`);
  if (to === "peft" && !projections && record !== undefined && inPeft) {
    const only = `PEFT draws the same bases only for a base that is stored in ${record.dtype}`;
    notes.push(`${path}: ${only}: for another, leave --projections no out`);
  }
  const { tensors, config: keys, ...rest } = contentOf(adapter);
  const others = tensors.filter(({ name }) => !isShared(name, kind));
  return {
    content: {
      ...rest,
      config: to === "peft" && saysSaved ? { ...keys, save_projection: pair !== undefined } : keys,
      bases: written,
      tensors: pair === undefined ? others : [pair.a, pair.b, ...others],
    },
    generator: record?.generator,
    projections: pair !== undefined,
    notes,
  };
}

/** What draws the pair, and how that is written: as it was, or as it was found out. */
async function settleRecord<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  adapter: Adapter,
  wish: ConversionWish,
  config: C,
  found: { readonly saved: SavedTensors; readonly sizes: Z } | undefined,
): Promise<{ readonly record: R | undefined; readonly written: JsonObject | undefined }> {
  const record = recordOf(adapter, kind);
  if (record === undefined) {
    const drawn = found && (await identify(kind, found, config, wish));
    return { record: drawn, written: drawn && kind.format(drawn) };
  }
  if (found === undefined || (await recordDraws(kind, record, found.saved, config, wish))) {
    return { record, written: adapter.bases };
  }
  const cause = `the bases that it holds are not those that it records (${record.generator})`;
  const hint = "the file was changed after it was written: use the original";
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
}

/** Throws `RandloraError` "adapter" where leaving the pair out of the result would lose it. */
function requireRedrawable<R extends FrozenRecord>(
  path: string,
  to: ConversionWish["to"],
  { peftDraws }: { peftDraws(record: R): boolean },
  record: R | undefined,
  saved: SavedTensors | undefined,
): void {
  const hint = "leave --projections no out";
  if (record === undefined && saved !== undefined) {
    const cause = `${path}: no known generator draws its bases, so leaving them out would lose them`;
    throw new RandloraError("adapter", cause, hint);
  }
  if (to === "peft" && record !== undefined && !peftDraws(record)) {
    throw new RandloraError("adapter", `${path}: PEFT cannot draw its bases (${record.generator})`, hint);
  }
}

/**
 * A conversion that writes an adapter as it is, for methods without random matrices in files. Throws `RandloraError`
 * "usage" where they are asked for. `why`: why there are none, after "is a ". @param generatorOf checks what is recorded
 */
export function convertAsIs(
  why: string,
  generatorOf: (adapter: Adapter) => GeneratorName | undefined = () => undefined,
): (adapter: Adapter, wish: ConversionWish) => Promise<ConvertedContent> {
  return async (adapter, { projections }) => {
    const generator = generatorOf(adapter);
    if (projections === true) {
      const cause = `--projections yes: ${oneLine(adapter.path)} is a ${why}`;
      throw new Contradiction(["projections"], cause, "leave --projections out");
    }
    return { content: contentOf(adapter), generator, projections: false, notes: [] };
  };
}
