import { takeSteps } from "../../adapters/frozen/drawing/steps.ts";
import type { OpenDeltas } from "../../adapters/merge/in-memory/deltas.ts";
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
}

/** Operations that the spectra of the chosen modules take at most. */
export function spectrumWork({ chosen, layer }: OpenDeltas): number {
  return chosen.reduce((sum, index) => sum + singularWork(layer(index).out, layer(index).in), 0);
}

/**
 * The singular values of each chosen ΔW, module by module.
 *
 * @param observer.work told of operations done, of `spectrumWork`
 * @throws RandloraError as `formDelta`; the signal's reason when it is aborted
 */
export async function spectra(
  deltas: OpenDeltas,
  observer: { module(name: string): void; work(operations: number): void },
  signal?: AbortSignal,
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
    const ranks = { effectiveRank: effectiveRank(values), numericalRank: numericalRank(values) };
    found.push({ module, out, in: input, values, norm, ...ranks });
  }
  return found;
}
