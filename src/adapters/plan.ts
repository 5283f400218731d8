import type { Gpu } from "../gpu/gpu.ts";
import type { Stream } from "../gpu/stream.ts";
import type { GeneratorName } from "../random/names.ts";
import type { DeltaBlock, DeltaSample } from "./bilinear/delta-block.ts";
import type { AdaptedLayer } from "./layers.ts";
import type { Replacement } from "./replacements.ts";
import type { Adapter } from "./types.ts";

/** What a user says of the adapters to be applied. */
export interface PlanOptions {
  /** `--generator`. */
  readonly generator?: GeneratorName | undefined;
  /** Is this one of several adapters? Then `--generator` may be meant for another. */
  readonly amongOthers?: boolean | undefined;
}

/**
 * An adapter that was fitted to a base, whatever its method: which weights it changes, which it replaces, and where ΔW
 * comes from. Everything is checked and nothing read. A new method implements this and the three interfaces below.
 */
export interface AdapterPlan {
  readonly adapter: Adapter;
  /** ΔW is asked for by index in this list. */
  readonly layers: readonly AdaptedLayer[];
  readonly replacements: readonly Replacement[];
  /** What the user should know: one line each. */
  readonly notes: readonly string[];
  /** What draws the method's random matrices; "saved" where the file holds them, "none" where it has none. */
  readonly bases: BasesOrigin;
  /** Whether PEFT's merge rounds this method's ΔW to the weight's dtype before it is added. */
  readonly roundsDelta: boolean;
  /** Reads or draws what the layers share. Throws `RandloraError`, or the signal's reason when it is aborted. */
  load(signal?: AbortSignal): Promise<DeltaSource>;
}

export type BasesOrigin = GeneratorName | "saved" | "none";

/** An adapter with everything in memory that its layers share. */
export interface DeltaSource {
  /** Compiles the kernel and uploads what the layers share; the source may be dropped afterwards. */
  upload(gpu: Gpu): Promise<DeltasOnGpu>;
  /** factor · ΔW (out, in) of one layer in f64, row-major, at a sample of its elements: the yardstick. Slow. */
  reference(layer: number, factor: number, sample: DeltaSample): Promise<Float64Array>;
}

/** An adapter with everything on the GPU that its layers share. */
export interface DeltasOnGpu {
  /** Reads a layer's own numbers and uploads them, for factor · ΔW. Throws `RandloraError` "numeric", "file", "memory". */
  layer(layer: number, factor: number): Promise<LayerDelta>;
  release(): void;
}

/** One ΔW on the GPU. */
export interface LayerDelta {
  /** Records ΔW of a block of rows as the weight is stored, in f32: assigned, or added to what is there. */
  form(stream: Stream, block: DeltaBlock): void;
  release(): void;
}
