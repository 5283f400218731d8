import type { KernelSource } from "../gpu/pipelines.ts";
import basisText from "./basis.wgsl" with { type: "text" };
import finishText from "./delta-finish.wgsl" with { type: "text" };
import operandsText from "./delta-operands.wgsl" with { type: "text" };
import deltaText from "./delta.wgsl" with { type: "text" };
import dtypeText from "./dtype.wgsl" with { type: "text" };
import type { Pairing } from "./pairing.ts";
import philoxText from "./philox.wgsl" with { type: "text" };
import { expandTemplate } from "./template.ts";

/** How a basis lies in GPU memory; `philox` lies nowhere and is drawn where it is used. */
export type DeltaStorage = "bf16" | "f16" | "f32" | "ternary" | "philox";

/** How operands reach the multiplier: shuffled inside one subgroup, or through workgroup memory. */
export type Staging = { readonly kind: "subgroup"; readonly lanes: number } | { readonly kind: "workgroup" };

export interface DeltaVariant {
  readonly a: DeltaStorage;
  readonly b: DeltaStorage;
  readonly pairing: Pairing;
  readonly staging: Staging;
}

/** Rows and columns of W that one workgroup computes. */
export interface Tile {
  readonly rows: number;
  readonly cols: number;
}

/** Flags of one dispatch; the constants of the same names in delta.wgsl. */
export const DELTA_FLAGS = { hasWeight: 1, hasSum: 2, roundDelta: 4 } as const;

/** Rows per lane of the subgroup staging. More are up to a tenth faster, and take twice as long to compile (docs/design.md). */
const ROWS_PER_LANE = 4;

export function deltaTile(staging: Staging): Tile {
  if (staging.kind === "workgroup") return { rows: 64, cols: 64 };
  return { rows: ROWS_PER_LANE * staging.lanes, cols: 4 * staging.lanes };
}

/**
 * The ΔW kernel for one variant. Sizes, dtypes and flags are uniforms, so that one compile serves every layer.
 * Bindings and parameters: see delta.wgsl and `deltaParameters`.
 */
export function deltaKernel({ a, b, pairing, staging }: DeltaVariant): KernelSource {
  const tile = deltaTile(staging);
  const lanes = staging.kind === "subgroup" ? staging.lanes : 0;
  const code = expandTemplate(
    deltaText,
    {
      STORAGE_A: a,
      STORAGE_B: b,
      PAIRING: pairing,
      STAGING: staging.kind,
      LANES: lanes,
      ROWS_PER_LANE,
      // Mesa's software GPU compiles a shuffle better than a broadcast at 8 lanes and much worse at 16.
      SHUFFLE: lanes <= 8 ? "subgroupShuffle" : "subgroupBroadcast",
      TILE_ROWS: tile.rows,
      TILE_COLS: tile.cols,
      CHUNK_ROWS: staging.kind === "subgroup" ? tile.rows : 16,
      THREADS: staging.kind === "subgroup" ? lanes : 256,
    },
    { dtype: dtypeText, philox: philoxText, basis: basisText, operands: operandsText, finish: finishText },
  );
  const shape = staging.kind === "subgroup" ? `subgroup${lanes}` : "workgroup";
  return { key: `delta/${b}-${a}/${pairing}/${shape}`, code };
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
  readonly weightPitch: number;
  readonly transposed: boolean;
  readonly flags: number;
  readonly sourceDtype: number;
  readonly targetDtype: number;
  readonly scale: number;
  readonly workgroupsX: number;
  readonly firstStatistic: number;
  /** Elements of W and of the target before the first one of this block, multiples of 4. */
  readonly sourceAt: number;
  readonly targetAt: number;
  readonly key: readonly [number, number];
  readonly threshold: number;
  readonly dense: boolean;
  /** Bits of f32 that the grid of dense elements lacks: 0, 13 (f16), 16 (bf16). */
  readonly dropped: number;
  readonly sumAt: number;
  readonly aDrawn: number;
  readonly bDrawn: number;
}

/** The uniform's bytes. */
export function deltaParameters(values: DeltaParameters): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(28);
  words.set([
    values.rows,
    values.cols,
    values.terms,
    values.fastCount,
    values.firstRow,
    values.firstCol,
    values.bStride,
    values.aStride,
    values.gammaStride,
    values.weightPitch,
    Number(values.transposed),
    values.flags,
    values.sourceDtype,
    values.targetDtype,
    0,
    values.workgroupsX,
    values.key[0],
    values.key[1],
    values.threshold,
    Number(values.dense),
    values.aDrawn,
    values.bDrawn,
    values.firstStatistic,
    values.sourceAt,
    values.targetAt,
    values.dropped,
    values.sumAt,
  ]);
  new Float32Array(words.buffer, 56, 1)[0] = values.scale;
  return words;
}
