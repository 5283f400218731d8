import type { Pairing } from "../../compute/device/pairing.ts";
import type { Device } from "../../compute/device/device.ts";
import type { Run } from "../../compute/tensor/run.ts";
import type { WeightRows } from "../../compute/device/families/finish.ts";
import type { DeviceBuffer } from "../../compute/device/buffer.ts";
import type { Staging } from "../../compute/device/staging.ts";
import type { KernelDtype } from "../../compute/device/dtype.ts";
import type { FloatGrid, GeneratorName } from "../../compute/random/names.ts";
import type { DeltaBlock } from "../../compute/device/families/delta.ts";
import type { AdaptedLayer } from "../base/targets.ts";
import type { Replacement } from "../base/replacements.ts";
import type { Adapter } from "../files/adapter.ts";

/** Rows and columns of ΔW, for a look at some of its elements. */
export interface DeltaSample {
  readonly rows: readonly number[];
  readonly cols: readonly number[];
}

/** What a user says of the adapters to be applied. */
export interface PlanOptions {
  /** `--generator`. */
  readonly generator?: GeneratorName | undefined;
  /** Is this one of several adapters? Then `--generator` may be meant for another. */
  readonly amongOthers?: boolean | undefined;
  /** What draws the random matrices of a new adapter, which neither holds nor records them yet. */
  readonly drawn?:
    | { readonly generator: GeneratorName; readonly dtype: FloatGrid; readonly pairing?: Pairing }
    | undefined;
}

/**
 * An adapter that was fitted to a base, whatever its method: which weights it changes, which it replaces, and where ΔW
 * comes from. Everything is checked and nothing read; `deltaSource` makes the three interfaces below of a method's map.
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
  /** ΔW depends on W itself: it cannot be subtracted again. False where it is left out. */
  readonly rescales?: boolean | undefined;
  /** Reads or draws what the layers share. Throws `RandloraError`, or the signal's reason when it is aborted. */
  load(signal?: AbortSignal): Promise<DeltaSource>;
}

export type BasesOrigin = GeneratorName | "saved" | "none";

/** An adapter with everything in memory that its layers share. */
export interface DeltaSource {
  /**
   * Compiles the kernel and uploads what the layers share; the source may be dropped afterwards.
   * @param gpu owns what is uploaded (`ownedBy`): nothing here gives it back
   * @param staging of the kernels; the device's usual one by default
   */
  upload(gpu: Device, staging?: Staging): Promise<DeltasOnGpu>;
  /**
   * factor · ΔW (out, in) of one layer in f64, row-major, at a sample of its elements: the yardstick. Slow. NaN where the
   * rounding of f32 decides between two values.
   * @param weight for methods that rescale W
   */
  reference(layer: number, factor: number, sample: DeltaSample, weight: SampledWeight): Promise<Float64Array>;
}

/** The base's weight, rows and columns as it is stored. */
export interface StoredWeight {
  readonly rows: number;
  readonly cols: number;
  /** Of what is read: a dtype that kernels know, wider than the stored one where they do not. */
  readonly dtype: KernelDtype;
  /** Consecutive rows without gaps. Throws `RandloraError` "file". */
  read(first: number, count: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** The same for the yardstick. */
export interface SampledWeight extends StoredWeight {
  /** What ΔW is added to at the sample, row-major: W, and what adapters before this one have made of it. */
  readonly onto: Float64Array;
}

/** An adapter with everything on the GPU that its layers share. */
export interface DeltasOnGpu {
  /**
   * Reads a layer's own numbers and uploads them, for factor · ΔW. Throws `RandloraError` "numeric", "file", "memory".
   * @param weight for methods that rescale W
   */
  layer(layer: number, factor: number, weight: StoredWeight): Promise<LayerDelta>;
}

/** One ΔW on the GPU. */
export interface LayerDelta {
  /** Records ΔW of a block of rows as the weight is stored, in f32: assigned, or added to what is there. */
  readonly form: (run: Run, block: WeightBlock) => void;
  release(): void;
}

/** A block of ΔW, and the rows of W that it is for. */
export interface WeightBlock extends DeltaBlock {
  /** Columns of W as stored. */
  readonly cols: number;
  /** The base's own rows. */
  readonly weight: WeightRows;
  /** What ΔW, with what `target` holds already, is added to: those, or what adapters before this one have made of them. */
  readonly onto: WeightRows;
  /** PEFT rounds parts of ΔW to this, where it rounds ΔW; left out: nothing is rounded. */
  readonly rounding?: KernelDtype;
  /** F32 rows, `pitch` elements apart, until the block is done. Throws `RandloraError` "memory". */
  scratch(): DeviceBuffer;
}
