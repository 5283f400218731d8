import type { KernelSource } from "../gpu/pipelines.ts";
import workgroupText from "./basis-gradient-workgroup.wgsl" with { type: "text" };
import basisGradientText from "./basis-gradient.wgsl" with { type: "text" };
import type { Tile } from "./delta.ts";
import dtypeText from "./dtype.wgsl" with { type: "text" };
import type { KernelDtype } from "./dtype.ts";
import matrixText from "./matrix.wgsl" with { type: "text" };
import type { Pairing } from "./pairing.ts";
import pairingText from "./pairing.wgsl" with { type: "text" };
import type { Staging } from "./staging.ts";
import { expandTemplate } from "./template.ts";

/** Rows per lane of the subgroup staging, as in the products of matrices. */
const ROWS_PER_LANE = 4;

/** Rows and columns of dŜ that one workgroup forms at a time. */
export function basisGradientTile(staging: Staging): Tile {
  if (staging.kind === "workgroup") return { rows: 64, cols: 64 };
  return { rows: ROWS_PER_LANE * staging.lanes, cols: 4 * staging.lanes };
}

/** Partial sums of dλ and dγ from PᵀQ; `left`: how P is stored. Parameters: see basis-gradient.wgsl. */
export function basisGradientKernel(staging: Staging, pairing: Pairing, left: KernelDtype): KernelSource {
  const { rows, cols } = basisGradientTile(staging);
  const lanes = staging.kind === "subgroup" ? staging.lanes : 0;
  const definitions = {
    DTYPE: left,
    PAIRING: pairing,
    STAGING: staging.kind,
    LANES: lanes,
    ROWS_PER_LANE,
    TILE_ROWS: rows,
    TILE_COLS: cols,
    // Mesa's software GPU compiles a shuffle better than a broadcast at 8 lanes and much worse at 16.
    SHUFFLE: lanes <= 8 ? "subgroupShuffle" : "subgroupBroadcast",
  };
  const includes = { dtype: dtypeText, matrix: matrixText, pairing: pairingText, workgroup: workgroupText };
  const key = `basis-gradient/${left}/${pairing}/${staging.kind}${lanes}`;
  return { key, code: expandTemplate(basisGradientText, definitions, includes) };
}
