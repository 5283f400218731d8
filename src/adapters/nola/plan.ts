import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { BaseModel } from "../base/base.ts";
import { type Fit, fitAdapter, type FittedLayer, type TrainedTensors } from "../fit.ts";
import type { Adapter } from "../adapter.ts";
import { type NolaConfig, nolaConfig } from "./config.ts";
import type { NolaDraws } from "./draws.ts";
import { drawsOf } from "./record.ts";

/** What NoLA trains of a module: the coefficients of A and of B. */
export const NOLA_TENSORS: TrainedTensors<Pick<NolaConfig, "bases">, "a" | "b"> = {
  names: { a: "nola_coefficients_A", b: "nola_coefficients_B" },
  shapes: ({ bases }) => ({ a: [bases], b: [bases] }),
  meaning: "both have num_bases elements",
};

/** One adapted weight: ΔW = scale · B·A, both factors from k coefficients. */
export type NolaLayer = FittedLayer<"a" | "b">;

/** Everything that applying a NoLA adapter to a base takes, checked; no tensor has been read yet. */
export interface NolaPlan extends Fit<NolaConfig, "a" | "b"> {
  /** alpha / r. */
  readonly scale: number;
  readonly draws: NolaDraws;
}

/**
 * Fits a NoLA adapter to a base. Throws `RandloraError` "adapter" with the reason when it cannot be applied, "format" for
 * a file that is incomplete.
 */
export function planNola(adapter: Adapter, base: BaseModel): NolaPlan {
  const config = nolaConfig(adapter);
  const draws = drawsOf(adapter, config);
  const fit = fitAdapter(adapter, base, config, NOLA_TENSORS);
  const large = fit.layers.find(({ out, in: input }) => input > draws.maxIn || out > draws.maxOut);
  if (large === undefined) return { ...fit, scale: config.alpha / config.r, draws };
  const theirs = `${quote(large.source)} of ${oneLine(base.path)} has [${large.shape.join(", ")}]`;
  const cause = `${theirs}, but the factors were drawn for ${draws.maxOut} × ${draws.maxIn} at most`;
  throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "the adapter was made for another model");
}
