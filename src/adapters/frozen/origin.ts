import type { SavedProjection } from "./drawing/saved.ts";
import { Contradiction, RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import type { Adapter, AdapterTensor } from "../files/adapter.ts";
import { type BaseModel, isConv1d, linearModules, modelTypeOf } from "../base/base.ts";
import { findWeight, type PathShift, unshiftPath } from "../base/module-paths.ts";
import { type AdaptedLayer, targetMatcher } from "../base/targets.ts";
import type { LayerSettings } from "../base/config-keys.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import { describe, sharedName } from "../files/tensors.ts";
import type { BasesOrigin, PlanOptions } from "../method/plan.ts";
import { type Bases, type BasesExtent, takeSteps } from "./drawing/bases.ts";
import { type StdCache, userStdCache } from "../files/std-cache.ts";
import {
  gridOfLayers,
  type Drawn,
  type FrozenKind,
  type FrozenRecord,
  type FrozenSettings,
  type SavedTensors,
} from "./kind.ts";

/** A saved base as a matrix that is read in portions of rows. Throws `RandloraError` "adapter" for an odd dtype. */
export function toProjection(tensor: AdapterTensor, file: string): SavedProjection {
  const { dtype, shape, name } = tensor;
  if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16") {
    const cause = `tensor ${quote(name)} is ${dtype}, not F32, F16 or BF16`;
    throw new RandloraError("adapter", `${oneLine(file)}: ${cause}`, "save the adapter in f32");
  }
  const [rows = 0] = shape;
  const cols = shape.slice(1).reduce((product, size) => product * size, 1);
  const rowBytes = cols * dtypeBytes(dtype);
  return {
    name: `${oneLine(file)}: ${name}`,
    dtype,
    rows,
    cols,
    async read(row, count) {
      const bytes = new Uint8Array(count * rowBytes);
      await tensor.read(bytes, row * rowBytes);
      return bytes;
    },
  };
}

/** A module that the targets match and the adapter has nothing of. */
interface UnadaptedModule {
  /** As the adapter would name it. */
  readonly module: string;
  readonly out: number;
  readonly in: number;
}

/** Modules of the base that the targets match and the adapter does not hold: PEFT draws bases that are large enough for them, too. */
export function unadaptedModules(
  adapter: Adapter,
  { targets, fanInFanOut, modulesToSave }: LayerSettings,
  layers: readonly Pick<AdaptedLayer, "module">[],
  base: BaseModel,
  shift: PathShift,
): UnadaptedModule[] {
  const matches = targetMatcher(targets, modelTypeOf(base));
  const adapted = new Set(layers.map(({ module }) => module));
  return linearModules(base)
    .filter((module) => isInClass(module, modulesToSave, base))
    .map((module) => unshiftPath(module, shift))
    .filter((module) => !adapted.has(module) && matches(module))
    .map((module) => {
      const [first = 0, second = 0] = findWeight(module, shift, base, adapter.path).shape;
      return isConv1d(module, base, fanInFanOut)
        ? { module, out: second, in: first }
        : { module, out: first, in: second };
    });
}

/** transformers' class of CLIP with a head, which is then saved whole, has no encoder of texts. */
function isInClass(module: string, modulesToSave: readonly string[], base: BaseModel): boolean {
  return modelTypeOf(base) !== "clip" || !modulesToSave.includes("classifier") || module.startsWith("vision_model.");
}

/**
 * What to say of them: PEFT saves every module that its targets match, so a file that holds fewer was probably trained on
 * another model.
 * @param larger whether the bases are drawn larger because of them
 */
function unadaptedNote(
  adapter: Adapter,
  base: BaseModel,
  held: number,
  unadapted: readonly UnadaptedModule[],
  larger: boolean,
): string[] {
  const [first] = unadapted;
  if (first === undefined) return [];
  const counts = `target_modules match ${held + unadapted.length} modules of ${oneLine(base.path)}`;
  const drawn = larger ? "; the bases are drawn large enough for all" : "";
  const note = `${counts}, the adapter holds ${held} (not ${quote(first.module)}): was it trained on this model?`;
  return [`${oneLine(adapter.path)}: ${note}${drawn}`];
}

/** Where the random matrices of an adapter come from. */
export type FrozenOrigin<Z, R> =
  | { readonly kind: "drawn"; readonly drawn: Drawn<Z>; readonly record: R | undefined }
  | { readonly kind: "saved"; readonly saved: SavedTensors; readonly sizes: Z };

/** Where matrices of a run came from: drawn ones and the same out of a file may be stored, and then round, differently. */
export type BasesFrom = FrozenOrigin<unknown, unknown>["kind"];

/** The decision, with what the user should know about it. */
export interface FrozenChoice<Z, R> {
  readonly origin: FrozenOrigin<Z, R>;
  /** What the file records. */
  readonly record: R | undefined;
  readonly bases: BasesOrigin;
  readonly notes: readonly string[];
}

/** What decides. */
interface FrozenQuestion<C> {
  readonly adapter: Adapter;
  readonly config: C & LayerSettings;
  readonly base: BaseModel;
  readonly shift: PathShift;
  readonly layers: readonly AdaptedLayer[];
}

/**
 * Saved matrices are used; else what the file records; else what the user names; else what the method takes for them. What
 * nothing is known of is drawn at the sizes that PEFT draws at: over every module that the targets match, adapted or not.
 * Among several adapters `--generator` is for those that do not say, as far as it can draw theirs.
 * Throws `RandloraError` "usage" when `--generator` contradicts the file, "file" when nothing says how to draw.
 */
export function chooseFrozen<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  { adapter, config, base, shift, layers }: FrozenQuestion<C>,
  { generator, amongOthers = false, drawn: fresh }: PlanOptions,
): FrozenChoice<Z, R> {
  if (fresh !== undefined) {
    const drawn = { ...fresh, ...kind.sizesFor(layers) };
    return drawnChoice<Z, R>(drawn, undefined, []);
  }
  const record = recordOf(adapter, kind);
  requireSameGenerator(adapter, record?.generator, { generator, amongOthers });
  const saved = findSaved(adapter, config.r, kind);
  if (saved !== undefined) {
    const unused = `${oneLine(adapter.path)} holds its bases: --generator is not needed and has no effect`;
    return {
      origin: { kind: "saved", ...saved },
      bases: "saved",
      record,
      notes: generator === undefined || amongOthers ? [] : [unused],
    };
  }
  const requireFit = (one: GeneratorName, path: string) => {
    const unfit = kind.unfit(one, config);
    if (unfit !== undefined) throw new RandloraError("adapter", `${oneLine(path)}: ${unfit.cause}`, unfit.hint);
  };
  if (record !== undefined) {
    requireFit(record.generator, adapter.file);
    return drawnChoice(record, record, []);
  }
  const fits = generator !== undefined && (kind.unfit(generator, config) === undefined || !amongOthers);
  const chosen = kind.unrecorded(adapter, config, fits ? generator : undefined);
  requireFit(chosen, adapter.path);
  const others = unadaptedModules(adapter, config, layers, base, shift);
  const [own, sizes] = [kind.sizesFor(layers), kind.sizesFor([...layers, ...others])];
  const notes = unadaptedNote(adapter, base, layers.length, others, JSON.stringify(own) !== JSON.stringify(sizes));
  const drawn = { generator: chosen, dtype: gridOfLayers(layers, adapter), ...sizes };
  return drawnChoice<Z, R>(drawn, record, notes);
}

function drawnChoice<Z, R>(drawn: Drawn<Z>, record: R | undefined, notes: readonly string[]): FrozenChoice<Z, R> {
  return { origin: { kind: "drawn", drawn, record }, record, bases: drawn.generator, notes };
}

/** What an adapter records of its random matrices. @throws RandloraError `format` */
export function recordOf<R>(
  { bases, file }: Adapter,
  { parse }: { parse(bases: NonNullable<Adapter["bases"]>, file: string): R },
): R | undefined {
  return bases === undefined ? undefined : parse(bases, file);
}

/** The pair that an adapter holds, or undefined. Throws `RandloraError` "format" for half a pair or odd shapes. */
export function findSaved<Z>(
  { tensors, file }: Adapter,
  r: number,
  kind: {
    readonly shared: readonly [a: string, b: string];
    readonly meaning: string;
    sizes(a: readonly number[], b: readonly number[], r: number): Z | undefined;
  },
): { readonly saved: SavedTensors; readonly sizes: Z } | undefined {
  const [nameA, nameB] = [sharedName(kind.shared[0]), sharedName(kind.shared[1])];
  const [a, b] = [tensors.get(nameA), tensors.get(nameB)];
  if (a === undefined && b === undefined) return undefined;
  const refuse = (cause: string) => new RandloraError("format", `${oneLine(file)}: ${cause}`, kind.meaning);
  if (a === undefined || b === undefined) {
    throw refuse(`tensor ${quote(a === undefined ? nameA : nameB)} is missing beside the other of the pair`);
  }
  const sizes = kind.sizes(a.shape, b.shape, r);
  if (sizes === undefined) throw refuse(`bases of ${describe(a)} and ${describe(b)} do not fit r = ${r}`);
  return { saved: { a, b }, sizes };
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

/** The sizes that they are drawn at. */
export function sizesOf<Z>(origin: FrozenOrigin<Z, unknown>): Z {
  return origin.kind === "drawn" ? origin.drawn : origin.sizes;
}

/** How random matrices are loaded. */
export interface LoadOptions {
  /** Where measured standard deviations are kept; the user's by default. */
  readonly cache?: StdCache | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads or draws as much as `extent` says. What is drawn must agree with the recorded hashes. Throws `RandloraError`
 * "adapter" when it does not, whatever reading and drawing throw, and the signal's reason when it is aborted.
 */
export async function loadFrozen<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  file: string,
  origin: FrozenOrigin<Z, R>,
  config: C,
  extent: BasesExtent,
  { cache = userStdCache(), signal }: LoadOptions = {},
): Promise<Bases> {
  if (origin.kind === "saved") {
    const { a, b } = origin.saved;
    return await kind.pack({ a: toProjection(a, file), b: toProjection(b, file) }, config.r, extent, signal);
  }
  const { drawn, record } = origin;
  if (record === undefined) return await takeSteps(kind.draw(drawn, config, extent, cache), signal);
  const trusting = withRecorded(cache, record);
  const bases = await takeSteps(kind.draw(drawn, config, extent, trusting), signal);
  const { sha256 } = await takeSteps(kind.print(drawn, config, trusting), signal);
  if (sha256.a === record.sha256.a && sha256.b === record.sha256.b) return bases;
  const cause = `the bases that ${record.generator} draws are not those that the adapter records`;
  const hint = "its seed, rank or shape was changed, or another version of randlora wrote it";
  throw new RandloraError("adapter", `${oneLine(file)}: ${cause}`, hint);
}

/** Recorded deviations spare a pass over the whole stream; the hashes, which depend on them, prove them. */
function withRecorded(cache: StdCache, { stdA, stdB }: FrozenRecord): StdCache {
  const recorded = stdA === undefined || stdB === undefined ? null : { a: stdA, b: stdB };
  // What nobody has measured does not belong into the cache.
  return recorded === null ? cache : { get: () => recorded, set: () => {} };
}
