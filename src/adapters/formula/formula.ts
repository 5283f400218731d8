import * as v from "valibot";
import type { KernelDtype } from "../../compute/device/dtype.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { recordStridedSums, type Steps, type Strided } from "../../compute/tensor/strided-sums.ts";
import { sliceRows, type Tensor } from "../../compute/tensor/tensor.ts";
import { recordWidened } from "../../compute/tensor/widen.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import {
  biasKey,
  dropoutShare,
  finiteNumber,
  LAYER_KEYS,
  layerSettings,
  type LayerSettings,
  matchedPattern,
  parseSettings,
  type Pattern,
  positiveInteger,
  readPattern,
} from "../base/config-keys.ts";
import type { WrittenSettings } from "../files/adapter.ts";
import type { UsualSettings } from "../method/method.ts";

/** ΔW (out, in) of a module as a formula of the tensors `T` that are trained of it, before α/r. */
export interface Formula<T extends string> {
  /** One element in f64, from tensors row by row: the reference that devices are held to. `weight`: W's, of its row. */
  at(of: Readonly<Record<T, ArrayLike<number>>>, row: number, col: number, weight: WeightAt): number;
  /** Records some rows of scale · ΔW. Where they are assigned, padding becomes zero; where they are added, it stays. */
  form(run: Run, of: Matrices<T>, scale: number, rows: DeltaRows, accumulate: boolean): void;
  /** Adds to the tensors' gradients what the same rows of G = ∂loss/∂ΔW make of them, times the scale. */
  fold(run: Run, of: Matrices<T>, scale: number, rows: DeltaRows, gradients: Matrices<T>): void;
}

/** An element of W (out, in). */
export type WeightAt = (row: number, col: number) => number;

/** Trained tensors on a device, F32: a vector is one row. */
export type Matrices<T extends string> = Readonly<Record<T, Tensor>>;

/** Rows of ΔW or G, of a matrix (out, in): F32, and few enough to be bound at once. */
export interface DeltaRows {
  readonly first: number;
  /** (count, in). */
  readonly rows: Tensor;
  /** The same rows of W, where the method takes it: F32, F16 or BF16. */
  readonly weight?: Strided | undefined;
  /** Tensors in memory: those that stay as they begin. */
  readonly values?: Readonly<Record<string, ArrayLike<number>>> | undefined;
  /** What PEFT rounds its parts of ΔW to: they are rounded alike. */
  readonly rounding?: KernelDtype | undefined;
}

/** Rounds the numbers of an F32 matrix that begins its buffer, if they are to be rounded. */
export function recordRounded(run: Run, x: Tensor, dtype: KernelDtype = "F32"): void {
  if (dtype === "F32") return;
  const [rows, cols] = x.shape;
  const { statistics: bytes } = run.device.scratchBytes("finish", { rows, cols });
  const [stored, statistics] = [run.allocate("rounded", x.shape, dtype), run.allocate("statistics", [1, bytes / 4])];
  const target = { buffer: stored.buffer, dtype };
  run.compute("finish", { rows, cols, pitch: x.pitch, delta: x.buffer, target, statistics: statistics.buffer });
  recordWidened(run, { ...stored, pitch: x.pitch }, x);
  run.release(stored, statistics);
}

/** W (out, in) of a module for a formula that takes it; stored (in, out) where `conv1d`. */
export function stridedWeight(of: Tensor, conv1d = false): Strided {
  const [row, col] = conv1d ? [1, of.pitch] : [of.pitch, 1];
  return { of, steps: { row, col, term: 0 } };
}

/** A part of a matrix that begins at any element; of its shape, where none is given. */
export function partFrom(tensor: Tensor, row: number, col: number, shape = tensor.shape): Tensor {
  return { ...tensor, shape, offset: tensor.offset + row * tensor.pitch + col };
}

/** Adds scale · x to y, or assigns it; x's elements lie at `steps` from row to row and from column to column. */
export function moveStrided(
  run: Run,
  of: Tensor,
  steps: Omit<Steps, "term">,
  y: Tensor,
  { scale = 1, accumulate = true }: { readonly scale?: number; readonly accumulate?: boolean } = {},
): void {
  recordStridedSums(run, { x: { of, steps: { ...steps, term: 0 } }, w: ones(run), y, terms: 1, scale, accumulate });
}

/** What strided sums multiply with where they only add. */
export function ones(run: Run): Strided {
  return { of: run.upload("one", [1, 1], Float32Array.of(1)), steps: { row: 0, col: 0, term: 0 } };
}

/** Less than every device binds at once. */
const MOST_BYTES = 64 * 2 ** 20;

/** All rows of a matrix, and of W beside it. */
export function* rowsOf(matrix: Tensor, weight?: Strided): Generator<DeltaRows> {
  const [count] = matrix.shape;
  const most = Math.max(1, Math.floor(MOST_BYTES / (matrix.pitch * 4)));
  for (let first = 0; first < count; first += most) {
    yield { first, rows: sliceRows(matrix, first, Math.min(most, count - first)), weight: laterRows(weight, first) };
  }
}

/** Each block of ΔW takes a few dispatches, and what is recorded stays in memory until it runs. */
const MOST_BLOCKS = 2 ** 14;

/** Why ΔW is not cut into so many blocks, if so; their number follows from a file. */
export function tooManyBlocks(count: number): string | undefined {
  return count > MOST_BLOCKS ? `${count} blocks, of which a module may have ${MOST_BLOCKS}` : undefined;
}

/** Blocks (d, n) of ΔW, and of W, as far as they are in these rows: from row `o` of theirs on. */
export function* blocksOf({ first, rows, weight }: DeltaRows, height: number, width: number) {
  const [count, input] = rows.shape;
  for (let at = 0; at < count;) {
    const [d, o] = [Math.floor((first + at) / height), (first + at) % height];
    const some = Math.min(height - o, count - at);
    const own = laterRows(weight, at);
    for (let n = 0; n * width < input; n++) {
      const part = partFrom(rows, at, n * width, [some, width]);
      yield { d, n, o, part, weight: own && { ...own, of: partFrom(own.of, 0, n * width * own.steps.col) } };
    }
    at += some;
  }
}

/** W from row `first` on. */
export function laterRows<W extends Strided | undefined>(weight: W, first: number): W {
  if (weight === undefined) return weight;
  return { ...weight, of: { ...weight.of, offset: weight.of.offset + first * weight.steps.row } };
}

/** PEFT's names of a method's settings. */
interface PeftKeys<O extends v.ObjectEntries> {
  /** Of the rank; "r" where it is left out. */
  readonly rank?: string;
  /** Of α, where it is no factor, but what a trained tensor begins with. */
  readonly alpha?: string;
  /** Ranks of single modules; left out where all have one. */
  readonly ranks?: string;
  /** The regular expression of a key there, where it is not PEFT's usual one. */
  rankExpression?(key: string): string;
  /** Of dropout; left out where PEFT has none for it. */
  readonly dropout?: string;
  /** What `bias` is where the biases of adapted layers are trained; left out where PEFT has no such key. */
  readonly bias?: string;
  /** Its other keys that decide something, with PEFT's defaults: a new adapter has these. */
  readonly keys: O;
  /** Why an adapter with such settings cannot be applied, if so. */
  refusal?(own: Own<O>): string | undefined;
  /** PEFT's merge rounds ΔW to the weight's dtype before it is added. */
  readonly roundsDelta?: true;
}

type Own<O extends v.ObjectEntries> = v.InferOutput<v.ObjectSchema<O, undefined>>;

/** What the tensors of an adapter depend on. */
export interface Sizes<O extends v.ObjectEntries = Record<never, never>> {
  readonly r: number;
  /** PEFT's further keys. */
  readonly own: Own<O>;
}

/** The settings of such an adapter, in PEFT's manner. */
interface FormulaConfig<O extends v.ObjectEntries> extends LayerSettings, Sizes<O> {
  /** ΔW is scaled by α/r. */
  readonly alpha: number;
  /** Ranks of single modules. */
  readonly ranks: Pattern;
}

/** What the tensors of a module depend on. @param module its path */
export function sizesOf<O extends v.ObjectEntries>({ r, ranks, own }: FormulaConfig<O>, module: string): Sizes<O> {
  return { r: matchedPattern(ranks, module) ?? r, own };
}

/** What of a method decides how its configuration is read. */
export interface ConfigRules<O extends v.ObjectEntries> {
  /** What PEFT's configuration says of it; left out where PEFT has no such method. */
  readonly peft?: PeftKeys<O>;
  readonly usual: UsualSettings;
}

/** @throws RandloraError `format` for a value that makes no sense, `adapter` for a variant that cannot be applied */
export function readConfig<O extends v.ObjectEntries>(
  method: ConfigRules<O>,
  { settings, configFile }: WrittenSettings,
): FormulaConfig<O> {
  const { peft, usual } = method;
  const own = ownKeys(method, settings, configFile);
  const cause = peft?.refusal?.(own);
  if (cause !== undefined) {
    throw new RandloraError("adapter", `${oneLine(configFile)}: ${cause}`, "merge it with PEFT: merge_and_unload()");
  }
  // What nobody else writes has no default where it decides about ΔW.
  const usually = <S extends v.GenericSchema<number>>(of: S, value: number) =>
    peft === undefined ? of : v.optional(of, value);
  const number = (key: string, of: v.GenericSchema<number | undefined, number>) =>
    parseSettings(v.object({ [key]: of }), settings, configFile)[key] ?? NaN;
  const ranks =
    peft?.ranks === undefined
      ? []
      : readPattern(settings, peft.ranks, positiveInteger, configFile, peft.rankExpression);
  const r = number(peft?.rank ?? "r", usually(positiveInteger, usual.rank));
  const { alphaPerRank } = usual;
  const usualAlpha = usual.alpha ?? (alphaPerRank ?? 1) * usual.rank;
  const alpha = alphaPerRank === null ? r : number(peft?.alpha ?? "alpha", usually(finiteNumber, usualAlpha));
  parseSettings(v.object(dropoutKeys(method, dropoutShare)), settings, configFile);
  const schema = v.object({ bias: biasKey(peft?.bias ?? "none"), ...LAYER_KEYS });
  const layers = parseSettings(schema, settings, configFile);
  return { r, alpha, ranks, own, ...layerSettings(layers, configFile) };
}

export function ownKeys<O extends v.ObjectEntries>(
  { peft }: Pick<ConfigRules<O>, "peft">,
  settings: WrittenSettings["settings"],
  file: string,
): Own<O> {
  return parseSettings(v.object(peft?.keys ?? ({} as O)), settings, file);
}

/** What the configuration says of dropout: nothing where PEFT has none. */
export function dropoutKeys<S>({ peft }: { readonly peft?: { readonly dropout?: string } | undefined }, value: S) {
  const key = peft === undefined ? "dropout" : peft.dropout;
  return key === undefined ? {} : { [key]: value };
}
