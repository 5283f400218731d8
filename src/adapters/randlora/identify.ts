import { sha256OfF32 } from "../../compute/random/sha256.ts";
import type { FloatGrid, GeneratorName } from "../../compute/random/names.ts";
import { dtypeBytes, isFloat } from "../../files/safetensors/dtype.ts";
import { shapeElements } from "../../files/safetensors/header.ts";
import { widenToF32 } from "../../files/safetensors/numbers.ts";
import type { AdapterTensor } from "../adapter.ts";
import { fingerprintSteps } from "../frozen/drawing/draw.ts";
import type { BasesSpec } from "../frozen/drawing/bases.ts";
import type { RandloraConfig } from "./config.ts";
import { drawPairTensors } from "./projection-tensors.ts";
import type { BasesRecord } from "./record.ts";
import type { SavedPair } from "./saved.ts";
import { type StdCache, userStdCache } from "../frozen/drawing/std-cache.ts";
import { takeSteps } from "../frozen/drawing/steps.ts";

/** Elements that a fingerprint covers, at most. */
const HEAD = 4096;
/** Elements compared at a time. */
const PORTION = 1 << 18;

/** What may have drawn dense bases, the likeliest first, with the grids they may have been rounded to. */
const DENSE: readonly (readonly [GeneratorName, readonly FloatGrid[]])[] = [
  // A value drawn on a 16-bit grid is the same in f32: that grid says more.
  ["torch-mt19937-bf16-v2", ["bf16", "f16"]],
  ["torch-mt19937-bf16-v1", ["bf16", "f16"]],
  ["torch-mt19937-f16-v2", ["f16", "bf16"]],
  ["torch-mt19937-f16-v1", ["f16", "bf16"]],
  ["torch-mt19937-f32", ["f32", "bf16", "f16"]],
  ["philox-v1", ["f32", "bf16", "f16"]],
];
const TERNARY: typeof DENSE = [
  ["torch-mt19937-ternary", ["f32", "bf16", "f16"]],
  ["philox-v1", ["f32", "bf16", "f16"]],
];

/**
 * Finds the generator that draws exactly this pair, element by element, from the configuration's seed: the pair then
 * need not be stored. `undefined` when none does.
 */
export async function identifyBases(
  saved: SavedPair,
  config: RandloraConfig,
  cache: StdCache = userStdCache(),
  signal?: AbortSignal,
): Promise<BasesRecord | undefined> {
  const { max, min } = saved;
  const heads = new Map<boolean, Hashes>();
  for (const [generator, grids] of config.sparsity === "dense" ? DENSE : TERNARY) {
    const byBase = drawsBaseByBase(generator);
    const head = heads.get(byBase) ?? (await hashHeads(saved, byBase));
    heads.set(byBase, head);
    for (const grid of grids) {
      const spec = specOf({ generator, max, min, dtype: grid }, config);
      const { stdA, stdB, sha256 } = await takeSteps(fingerprintSteps(spec, cache), signal);
      if (sha256.a !== head.a || sha256.b !== head.b) continue;
      if (!(await samePair(saved, await drawPairTensors(spec, cache, signal)))) continue;
      const stds = { stdA: stdA ?? undefined, stdB: stdB ?? undefined };
      return { generator, pairing: "peft", max, min, dtype: grid, ...stds, sha256 };
    }
  }
  return undefined;
}

/** Does the record draw exactly this pair? */
export async function recordDraws(
  record: BasesRecord,
  saved: SavedPair,
  config: RandloraConfig,
  cache: StdCache = userStdCache(),
  signal?: AbortSignal,
): Promise<boolean> {
  if (record.max !== saved.max || record.min !== saved.min) return false;
  return samePair(saved, await drawPairTensors(specOf(record, config), cache, signal));
}

/** What the record and the configuration say together. */
export function specOf(
  { generator, max, min, dtype }: Pick<BasesRecord, "generator" | "max" | "min" | "dtype">,
  { key, r, sparsity }: RandloraConfig,
): BasesSpec {
  return { generator, key, r, max, min, sparsity, grid: dtype };
}

interface Hashes {
  readonly a: string;
  readonly b: string;
}

/** Are elements of B drawn base after base (max, r), or as B lies in memory? */
function drawsBaseByBase(generator: GeneratorName): boolean {
  return generator !== "torch-mt19937-ternary" && generator !== "philox-v1";
}

/** The fingerprint of saved bases, in the order in which such a generator draws. */
async function hashHeads({ a, b }: SavedPair, byBase: boolean): Promise<Hashes> {
  return {
    a: sha256OfF32(await readF32(a, 0, HEAD)),
    b: sha256OfF32(await (byBase ? readByBase(b) : readF32(b, 0, HEAD))),
  };
}

/** The first elements of B (max, n, r) base after base. */
async function readByBase(b: AdapterTensor): Promise<Float32Array> {
  const [max = 0, n = 0, r = 0] = b.shape;
  const out = new Float32Array(Math.min(HEAD, max * n * r));
  for (let at = 0; at < out.length; at += r) {
    const [base, row] = [Math.floor(at / r / max), (at / r) % max];
    out.set((await readF32(b, (row * n + base) * r, r)).subarray(0, out.length - at), at);
  }
  return out;
}

/** Up to `count` elements from `first` on, widened; fewer at the end. */
async function readF32(tensor: AdapterTensor, first: number, count: number): Promise<Float32Array> {
  const { dtype, shape, name } = tensor;
  if (!isFloat(dtype)) throw new TypeError(`${name} is ${dtype}`);
  const size = dtypeBytes(dtype);
  const values = new Float32Array(Math.min(count, shapeElements(shape) - first));
  const bytes = new Uint8Array(values.length * size);
  await tensor.read(bytes, first * size);
  widenToF32(bytes, dtype, values);
  return values;
}

async function samePair(saved: SavedPair, drawn: SavedPair): Promise<boolean> {
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
