import { takeSteps } from "../../adapters/frozen/drawing/steps.ts";
import type { OpenDeltas } from "../../adapters/merge/in-memory/deltas.ts";
import type { FormedDelta } from "../../adapters/merge/in-memory/form-delta.ts";
import { intruderSteps, intruderWork } from "../../adapters/svd/intruders.ts";
import { effectiveRank, numericalRank, singularValueSteps, singularWork } from "../../adapters/svd/singular-values.ts";

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
