import type { BasesExtent } from "../../frozen/drawing/bases.ts";
import { type BasesSizes, RANDLORA_BASES } from "../bases.ts";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { DORA_TYPES, PEFT_TYPES } from "../peft-types.ts";
import type { Adapter } from "../../adapter.ts";

/** Is this RandLoRA-a: two factors, each a sum over bases of its own? */
export function isRankR({ config }: Pick<Adapter, "config">): boolean {
  const type = config["peft_type"];
  return type === PEFT_TYPES["rank-r"] || type === DORA_TYPES["rank-r"];
}

/**
 * Bases of both factors: each base of the longer draw is (max + min, r), Bⱼ and below it Aⱼᵀ. So any generator draws them,
 * and what saves, records and recognizes bases need not know. The A that is drawn before them is not used.
 */
export const STACKED_BASES: typeof RANDLORA_BASES = {
  ...RANDLORA_BASES,
  sizesFor(modules) {
    const { max, min } = RANDLORA_BASES.sizesFor(modules);
    return { max: max + min, min };
  },
};

/** The first row of Aⱼᵀ: how many Bⱼ has. */
export function firstRowOfA({ max, min }: BasesSizes): number {
  return max - min;
}

/** As much of them as modules need that would need `extent` of PEFT's. */
export function stackedExtent(drawn: BasesSizes, extent: BasesExtent): BasesExtent {
  return { ...extent, rows: firstRowOfA(drawn) + extent.cols };
}

/** Rows of Bⱼ at most: all of them are held, since those of Aⱼᵀ follow; the largest vocabularies are a quarter of that. */
const MOST_ROWS = 2 ** 20;

/**
 * Refuses what does not say how its bases were drawn, a Bⱼ larger than any model needs, and layers with more rows than it
 * has. Throws `RandloraError` "adapter".
 */
export function checkStacked(
  adapter: Adapter,
  drawn: BasesSizes,
  layers: readonly { readonly module: string; readonly sizes: { readonly rows: number } }[],
  known: boolean,
): void {
  const refuse = (cause: string, hint: string) =>
    new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
  if (!known) throw refuse("it neither holds nor records its bases", "the file is incomplete: take the original");
  const most = firstRowOfA(drawn);
  if (most > MOST_ROWS) {
    throw refuse(
      `its bases are for matrices of ${most} rows, more than any model has`,
      "its recorded shape is damaged",
    );
  }
  const layer = layers.find(({ sizes }) => sizes.rows > most);
  if (layer === undefined) return;
  const cause = `${quote(layer.module)} has ${layer.sizes.rows} rows, more than the ${most} of its bases`;
  throw refuse(cause, "the adapter belongs to another model, or its recorded shape is wrong");
}
