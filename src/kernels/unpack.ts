import type { Unpacked } from "../device/families/bilinear.ts";
import type { KernelSource } from "../gpu/pipelines.ts";
import basisText from "./basis.wgsl" with { type: "text" };
import { kernelFamily } from "./family.ts";
import unpackText from "./unpack.wgsl" with { type: "text" };
import { uniformStruct } from "./parameters.ts";

/** Columns that one workgroup unpacks. */
export const UNPACK_COLS = 16 * 64;

const family = kernelFamily("unpack", unpackText, { basis: basisText });

/** Elements of a basis as exact 16-bit numbers. */
export function unpackKernel(storage: "ternary" | "philox", unpacked: Unpacked): KernelSource {
  const [DENSE, TARGET] = unpacked === "units" ? ["philox_units", "bf16"] : ["philox_dense", unpacked];
  return family({ STORAGE_A: storage, STORAGE_B: storage, DENSE, TARGET });
}

/** Parameters: see unpack.wgsl. */
export const unpackParameters = uniformStruct({
  rows: "u32",
  cols: "u32",
  firstRow: "u32",
  firstCol: "u32",
  stride: "u32",
  targetPitch: "u32",
  stream: "u32",
  threshold: "u32",
  key: "vec2u",
  dense: "flag",
});
