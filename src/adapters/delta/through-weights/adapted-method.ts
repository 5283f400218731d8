import type { Method, Placement } from "../../method/training.ts";
import { dropoutMasks } from "../dropout.ts";
import { fuse } from "./fused.ts";
import { heldDeltas } from "./held-deltas.ts";
import type { AdaptedModule } from "./held.ts";
import { chooseProducts, formatProducts } from "./plans.ts";
import { TrainedWeights } from "./trained.ts";

/**
 * A method at work whose ΔW is formed whole: all but what is written of it.
 * @param rate of dropout
 */
export function adaptedMethod(
  { gpu, place }: Pick<Placement, "gpu" | "place">,
  modules: readonly AdaptedModule[],
  { rate, seed }: { readonly rate: number; readonly seed: number },
): Omit<Method, "content"> {
  if (place.beside === true) return heldDeltas(gpu, modules);
  const dropout = rate > 0;
  const plans = chooseProducts(
    place,
    fuse(modules).map(({ shape }) => shape),
    dropout,
  );
  const weights = new TrainedWeights(gpu, modules, { dropout, plans });
  return {
    choices: { products: plans.map(formatProducts) },
    prepare: (run) => weights.prepare(run),
    watched: () => [],
    linears: (pass) => weights.linears(dropoutMasks(rate, seed, pass)),
    finish: (run) => weights.finish(run),
  };
}
