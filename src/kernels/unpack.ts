import type { KernelSource } from "../gpu/pipelines.ts";
import basisText from "./basis.wgsl" with { type: "text" };
import dtypeText from "./dtype.wgsl" with { type: "text" };
import philoxText from "./philox.wgsl" with { type: "text" };
import { expandTemplate } from "./template.ts";
import unpackText from "./unpack.wgsl" with { type: "text" };

/** Columns that one workgroup unpacks. */
export const UNPACK_COLS = 16 * 64;

/** What elements become: bf16 numbers in units of their own, or true values on a 16-bit grid (dense philox elements). */
export type Unpacked = "units" | "bf16" | "f16";

/** Elements of a basis as exact 16-bit numbers. Parameters: see unpack.wgsl. */
export function unpackKernel(storage: "ternary" | "philox", unpacked: Unpacked): KernelSource {
  const [DENSE, TARGET] = unpacked === "units" ? ["philox_units", "bf16"] : ["philox_dense", unpacked];
  const definitions = { STORAGE_A: storage, STORAGE_B: storage, DENSE, TARGET };
  const includes = { dtype: dtypeText, philox: philoxText, basis: basisText };
  return { key: `unpack/${storage}/${unpacked}`, code: expandTemplate(unpackText, definitions, includes) };
}
