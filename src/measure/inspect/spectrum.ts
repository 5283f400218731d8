import { takeSteps } from "../../adapters/frozen/drawing/bases.ts";
import type { OpenDeltas, FormedDelta } from "../../adapters/merge/in-memory/deltas.ts";
import { intruderSteps, intruderWork } from "../../adapters/merge/combine/intruders.ts";
import { effectiveRank, numericalRank, singularValueSteps, singularWork } from "../../adapters/svd/singular-values.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";

/** The singular values of one ΔW. */
export interface ModuleSpectrum {
  readonly module: string;
  /** ΔW is (out, in). */
  readonly out: number;
  readonly in: number;
  /** The largest first; those that are certainly zero may be left out. */
  readonly values: Float64Array;
  readonly norm: number;
  readonly effectiveRank: number;
  readonly numericalRank: number;
  /** Singular directions of W + ΔW that W does not have, of the first ten; undefined where they are not counted. */
  readonly intruders: number | undefined;
}

/** Operations that the spectra of the chosen modules take at most. @param intruders whether they are counted */
export function spectrumWork({ chosen, layer }: OpenDeltas, intruders = false): number {
  return chosen.reduce((sum, index) => {
    const { out, in: input } = layer(index);
    return sum + singularWork(out, input) + (intruders ? intruderWork(out, input) : 0);
  }, 0);
}

/**
 * The singular values of each chosen ΔW, module by module.
 *
 * @param options.intruders whether they are counted, which takes the base and time by the cube of a side
 * @param observer.work told of operations done, of `spectrumWork`
 * @throws RandloraError as `formDelta`; the signal's reason when it is aborted
 */
export async function spectra(
  deltas: OpenDeltas,
  observer: { module(name: string): void; work(operations: number): void },
  { intruders: areCounted = false, signal }: { readonly intruders?: boolean; readonly signal?: AbortSignal } = {},
): Promise<ModuleSpectrum[]> {
  const found: ModuleSpectrum[] = [];
  for (const index of deltas.chosen) {
    signal?.throwIfAborted();
    const { module, out, in: input } = deltas.layer(index);
    observer.module(module);
    const delta = await deltas.form(index);
    const values = await takeSteps(
      singularValueSteps(delta, (operations) => observer.work(operations)),
      signal,
    );
    const norm = Math.sqrt(delta.data.reduce((sum, value) => sum + value * value, 0));
    const weight = areCounted ? await deltas.weight(index) : undefined;
    const intruders = await countIntruders(delta, weight, (some) => observer.work(some), signal);
    const ranks = { effectiveRank: effectiveRank(values), numericalRank: numericalRank(values) };
    found.push({ module, out, in: input, values, norm, ...ranks, intruders });
  }
  return found;
}

async function countIntruders(
  delta: FormedDelta,
  weight: FormedDelta | undefined,
  onWork: (operations: number) => void,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  if (weight === undefined) return undefined;
  const most = intruderWork(weight.rows, weight.cols);
  let done = 0;
  const work = (operations: number) => {
    done += operations;
    onWork(operations);
  };
  const adapted = { ...weight, data: weight.data.map((value, at) => value + (delta.data[at] ?? 0)) };
  const { length } = await takeSteps(intruderSteps(weight, adapted, work), signal);
  onWork(Math.max(0, most - done));
  return length;
}

/** How far two ΔW, or two lists of them, are from each other, by Frobenius' norm and inner product. */
export interface Distance {
  readonly norm: number;
  readonly otherNorm: number;
  /** ‖ΔW − other‖ / ‖ΔW‖; null where ΔW is zero. */
  readonly relative: number | null;
  /** ⟨ΔW, other⟩ / (‖ΔW‖·‖other‖); null where one is zero. */
  readonly cosine: number | null;
}

interface ModuleDistance extends Distance {
  readonly module: string;
}

export interface AdapterDistance {
  readonly all: Distance;
  /** In the order of the first adapter; what only the other one adapts follows. */
  readonly modules: readonly ModuleDistance[];
}

interface Sums {
  squares: number;
  others: number;
  products: number;
  differences: number;
}

/**
 * Compares two adapters module by module; a module that one of them does not adapt has ΔW = 0 there.
 *
 * @param onModule told of each before it is compared
 * @throws RandloraError `adapter` where a module has two shapes; as `formDelta`; the signal's reason
 */
export async function compareDeltas(
  one: OpenDeltas,
  other: OpenDeltas,
  onModule: (name: string) => void,
  signal?: AbortSignal,
): Promise<AdapterDistance> {
  const all: Sums = { squares: 0, others: 0, products: 0, differences: 0 };
  const modules: ModuleDistance[] = [];
  const second = new Map(other.chosen.map((index) => [other.layer(index).tensor, index]));
  const first = new Map(one.chosen.map((index) => [one.layer(index).tensor, index]));
  for (const tensor of new Set([...first.keys(), ...second.keys()])) {
    signal?.throwIfAborted();
    const [mine, theirs] = [first.get(tensor), second.get(tensor)];
    const module = tensor.replace(/\.weight$/, "");
    onModule(module);
    const a = mine === undefined ? undefined : await one.form(mine);
    const b = theirs === undefined ? undefined : await other.form(theirs);
    if (a && b && (a.rows !== b.rows || a.cols !== b.cols)) {
      const shapes = `[${a.rows}, ${a.cols}] and [${b.rows}, ${b.cols}]`;
      const cause = `ΔW of ${quote(module)} has the shapes ${shapes}`;
      throw new RandloraError(
        "adapter",
        `${oneLine(one.path)} and ${oneLine(other.path)}: ${cause}`,
        "compare adapters of one base",
      );
    }
    const sums = sumsOf(a?.data, b?.data);
    for (const key of ["squares", "others", "products", "differences"] as const) all[key] += sums[key];
    modules.push({ module, ...distance(sums) });
  }
  return { all: distance(all), modules };
}

const NONE = new Float32Array();

function sumsOf(a: Float32Array = NONE, b: Float32Array = NONE): Sums {
  let squares = 0;
  let others = 0;
  let products = 0;
  let differences = 0;
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const x = a[i] ?? 0;
    const y = b[i] ?? 0;
    squares += x * x;
    others += y * y;
    products += x * y;
    differences += (x - y) * (x - y);
  }
  return { squares, others, products, differences };
}

function distance({ squares, others, products, differences }: Sums): Distance {
  const [norm, otherNorm] = [Math.sqrt(squares), Math.sqrt(others)];
  return {
    norm,
    otherNorm,
    relative: norm === 0 ? null : Math.sqrt(differences) / norm,
    // Rounding may lead out of what a cosine can be.
    cosine: norm === 0 || otherNorm === 0 ? null : Math.min(1, Math.max(-1, products / (norm * otherNorm))),
  };
}
