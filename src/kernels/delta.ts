import type { KernelSource } from "../gpu/pipelines.ts";
import basisText from "./basis.wgsl" with { type: "text" };
import operandsText from "./delta-operands.wgsl" with { type: "text" };
import storeText from "./delta-store.wgsl" with { type: "text" };
import deltaText from "./delta.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import type { Pairing } from "./pairing.ts";
import { f32, uniform } from "./parameters.ts";
import { productDefinitions, productTile } from "./product.ts";
import type { Staging } from "./staging.ts";

/** How a basis lies in GPU memory; `philox` lies nowhere and is drawn where it is used. */
export type DeltaStorage = "bf16" | "f16" | "f32" | "ternary" | "philox";

export interface DeltaVariant {
  readonly a: DeltaStorage;
  readonly b: DeltaStorage;
  readonly pairing: Pairing;
  readonly staging: Staging;
}

const family = kernelFamily("delta", deltaText, { basis: basisText, operands: operandsText, store: storeText });

/**
 * The ΔW kernel for one variant. Sizes, dtypes and flags are uniforms, so that one compile serves every layer.
 * Bindings and parameters: see delta.wgsl and `deltaParameters`.
 */
export function deltaKernel({ a, b, pairing, staging }: DeltaVariant): KernelSource {
  const isSubgroup = staging.kind === "subgroup";
  return family({
    STORAGE_A: a,
    STORAGE_B: b,
    PAIRING: pairing,
    ...productDefinitions(staging, "rows", "terms"),
    CHUNK_ROWS: isSubgroup ? productTile(staging).rows : 16,
    THREADS: isSubgroup ? staging.lanes : 256,
  });
}

/** Parameters of one dispatch, in the order of the WGSL struct. */
export interface DeltaParameters {
  readonly rows: number;
  readonly cols: number;
  readonly terms: number;
  readonly fastCount: number;
  readonly firstRow: number;
  readonly firstCol: number;
  readonly bStride: number;
  readonly aStride: number;
  readonly gammaStride: number;
  readonly targetPitch: number;
  readonly transposed: boolean;
  readonly accumulate: boolean;
  readonly scale: number;
  readonly threshold: number;
  readonly key: readonly [number, number];
  readonly dense: boolean;
  readonly aDrawn: number;
  readonly bDrawn: number;
  readonly targetAt: number;
  /** Bits of f32 that the grid of dense elements lacks: 0, 13 (f16), 16 (bf16). */
  readonly dropped: number;
}

/** The uniform's bytes. */
export function deltaParameters(values: DeltaParameters): Uint32Array<ArrayBuffer> {
  return uniform(
    values.rows,
    values.cols,
    values.terms,
    values.fastCount,
    values.firstRow,
    values.firstCol,
    values.bStride,
    values.aStride,
    values.gammaStride,
    values.targetPitch,
    Number(values.transposed),
    Number(values.accumulate),
    f32(values.scale),
    values.threshold,
    ...values.key,
    Number(values.dense),
    values.aDrawn,
    values.bDrawn,
    values.targetAt,
    values.dropped,
  );
}
