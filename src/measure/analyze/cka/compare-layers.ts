import { RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";
import type { Activations } from "./activations.ts";
import { batchesOf, cka, type CkaOptions, LEAST_BATCH } from "./cka.ts";
import type { Variant } from "../plan-variants.ts";

/** How near one module's outputs are to the reference's. */
export interface LayerCka {
  /** The module's path in the checkpoint. */
  readonly name: string;
  /** CKA of each variant, in their order; NaN where it is not defined. */
  readonly values: readonly number[];
}

/**
 * Linear CKA between the outputs of a model's blocks with a reference and those with each of several variants, as in figure
 * 4a of the RandLoRA paper.
 * @param collect the outputs with a variant, of the same samples
 * @throws what `collect` throws; the signal's reason when it is aborted
 */
export async function compareLayers(
  collect: (variant: Variant) => Promise<readonly Activations[]>,
  reference: Variant,
  others: readonly Variant[],
  options: CkaOptions,
): Promise<readonly LayerCka[]> {
  const of = await collect(reference);
  const values = of.map((): number[] => []);
  for (const variant of others) {
    // One variant's at a time: they are as large as the samples times the model's width and depth.
    const found = await collect(variant);
    for (const [at, row] of values.entries()) row.push(await cka(moduleAt(of, at), moduleAt(found, at), options));
  }
  return of.map(({ name }, at) => ({ name, values: values[at] ?? [] }));
}

/**
 * The samples that CKA looks at.
 * @throws RandloraError `data` for too few
 */
export function samplesUsed(
  data: { readonly path: string; readonly length: number },
  { estimator, batchSize }: CkaOptions,
): number {
  if (data.length < LEAST_BATCH) {
    const found = `${oneLine(data.path)}: ${data.length} ${data.length === 1 ? "sample" : "samples"}`;
    throw new RandloraError("data", `${found}, but CKA needs ${LEAST_BATCH}`, "give more data, or raise --samples");
  }
  return estimator === "full" ? data.length : (batchesOf(data.length, batchSize).at(-1)?.[1] ?? 0);
}

function moduleAt(all: readonly Activations[], at: number): Activations {
  const found = all[at];
  if (found === undefined) throw new RangeError(`no module ${at}`);
  return found;
}
