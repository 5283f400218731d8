import type { Run } from "../tensor/run.ts";
import type { Parameters } from "./parameters.ts";

/** What a method chose for itself and must choose again when a run is resumed, so that the same bits come out. */
export type MethodChoices = Readonly<Record<string, string | number | boolean | readonly string[]>>;

/** What a user may want to know of a method before training: a row a tensor group. */
export interface MethodSummary {
  readonly trainableParameters: number;
  /** One row an adapted module (or trained tensor): its name, its shape and what is trained for it. */
  readonly modules: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly parameters: number;
  }[];
  readonly notes: readonly string[];
}

/**
 * A way to train: which tensors are trained, how the decoder's matrices depend on them, and what file comes out. The
 * loop knows nothing else of it. `Recording` is what one micro-batch is recorded on, `Linears` what the decoder's
 * forward pass asks for each projection.
 */
export interface Method<Recording, Linears> {
  readonly kind: "randlora" | "lora" | "full";
  readonly parameters: Parameters;
  readonly summary: MethodSummary;
  readonly choices: MethodChoices;
  /** Records what depends on the parameters alone (ΔW, W'): before the first micro-batch of a step or an evaluation. */
  prepare(run: Run): void;
  /** How projections are computed in this micro-batch; its gradients are added to `parameters`. */
  linears(recording: Recording, pass: PassKind): Linears;
  /** Records what is left to do once every micro-batch of a step has been differentiated. */
  finish(run: Run): void;
  /** Writes the adapter's (or the model's) files into an empty folder. */
  save(folder: string): Promise<void>;
  /** Gives GPU memory back. */
  release(): void;
}

/** What a micro-batch is computed for. `key` is different for every one of a run: dropout draws from it. */
export type PassKind =
  | { readonly kind: "train"; readonly step: number; readonly microBatch: number }
  | { readonly kind: "evaluate" };
