import type { KernelSource } from "../gpu/pipelines.ts";
import basisText from "./basis.wgsl" with { type: "text" };
import dtypeText from "./dtype.wgsl" with { type: "text" };
import philoxText from "./philox.wgsl" with { type: "text" };
import { expandTemplate } from "./template.ts";
import unpackText from "./unpack.wgsl" with { type: "text" };

/** Columns that one workgroup unpacks. */
export const UNPACK_COLS = 16 * 64;

/** Elements of a basis as exact bf16 numbers, in its own units. Parameters: see unpack.wgsl. */
export function unpackKernel(storage: "ternary" | "philox"): KernelSource {
  const definitions = { STORAGE_A: storage, STORAGE_B: storage, DENSE: "philox_units" };
  const includes = { dtype: dtypeText, philox: philoxText, basis: basisText };
  return { key: `unpack/${storage}`, code: expandTemplate(unpackText, definitions, includes) };
}
