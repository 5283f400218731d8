import { DTYPE_CODES } from "../../device/dtype.ts";
import { STEP_STATE } from "../../device/families/optimizer.ts";
import attentionSightText from "./attention-sight.wgsl" with { type: "text" };
import drawText from "./draw.wgsl" with { type: "text" };
import dtypeText from "./dtype.wgsl" with { type: "text" };
import blocksText from "./blocks.wgsl" with { type: "text" };
import gemmOperandsText from "./gemm-operands.wgsl" with { type: "text" };
import gemmSlabText from "./gemm-slab.wgsl" with { type: "text" };
import gemvOperandsText from "./gemv-operands.wgsl" with { type: "text" };
import matrixText from "./matrix.wgsl" with { type: "text" };
import matrix8Text from "./matrix8.wgsl" with { type: "text" };
import { PRODUCT_INCLUDES } from "./product.ts";
import pairingText from "./pairing.wgsl" with { type: "text" };
import philoxText from "./philox.wgsl" with { type: "text" };
import reduceText from "./reduce.wgsl" with { type: "text" };
import safeTanhText from "./safe-tanh.wgsl" with { type: "text" };
import ternaryText from "./ternary.wgsl" with { type: "text" };
import storedText from "./stored.wgsl" with { type: "text" };
import stepStateText from "./step-state.wgsl" with { type: "text" };
import { declaration, type GpuKernel, type UniformMembers, type UniformStruct, uniformStruct } from "./parameters.ts";
import { type Definitions, expandTemplate } from "./template.ts";

/** Whole numbers as constants of WGSL: of `hasBias: 1`, `const HAS_BIAS = 1u;`. */
export function constants(values: Readonly<Record<string, number>>): string {
  const nameOf = (name: string) =>
    name
      .replace(/(?<=[a-z])[A-Z]/g, "_$&")
      .replaceAll("-", "_")
      .toUpperCase();
  return Object.entries(values)
    .map(([name, value]) => `const ${nameOf(name)} = ${value}u;`)
    .join("\n");
}

/** What `#include` finds in every family. */
const INCLUDES = {
  attention_sight: attentionSightText,
  blocks: blocksText,
  draw: drawText,
  dtype: dtypeText,
  dtype_codes: constants(DTYPE_CODES),
  gemm_operands: gemmOperandsText,
  gemm_slab: gemmSlabText,
  gemv_operands: gemvOperandsText,
  matrix: matrixText,
  matrix8: matrix8Text,
  pairing: pairingText,
  philox: philoxText,
  ...PRODUCT_INCLUDES,
  reduce: reduceText,
  safe_tanh: safeTanhText,
  step_state: stepStateText,
  step_state_words: constants(STEP_STATE),
  stored: storedText,
  ternary: ternaryText,
};

/** How a kernel is declared beside its text. */
export interface KernelDeclaration<M extends UniformMembers, B extends string> {
  /** The struct that `#include parameters` is. */
  readonly parameters: M;
  /** Bindings 1, 2, … by their names in WGSL; those that end in `?` may be left out. A variant may lack the last ones. */
  readonly bindings: readonly B[];
  /** What `#include constants` has beside the parameters' flags. */
  readonly constants?: Readonly<Record<string, number>>;
  /** What `#include` finds in this family alone. */
  readonly includes?: Definitions;
}

/**
 * The variants of one `.wgsl` file, each expanded once. The key names the family and every definition, so equal keys
 * mean equal code.
 */
export function gpuKernels<const M extends UniformMembers, const B extends string>(
  name: string,
  text: string,
  { parameters, bindings, constants: others, includes }: KernelDeclaration<M, B>,
): (definitions?: Definitions) => GpuKernel<M, B> {
  const flags = Object.values(parameters).filter((kind) => typeof kind === "object");
  const all = { constants: constants(Object.assign({}, ...flags, others)), ...includes };
  return kernelFamily(name, text, uniformStruct(parameters), all, bindings);
}

/**
 * As {@link gpuKernels}, of kernels whose operands are given in a list.
 * @param parameters whose struct `#include parameters` is
 * @param includes what `#include` finds in this family alone
 */
export function kernelFamily<M extends UniformMembers, B extends string = never>(
  name: string,
  text: string,
  parameters: UniformStruct<M>,
  includes: Definitions = {},
  bindings: readonly B[] = [],
): (definitions?: Definitions) => GpuKernel<M, B> {
  const known = new Map<string, GpuKernel<M, B>>();
  const all = { ...INCLUDES, parameters: declaration(parameters.members), ...includes };
  return (definitions = {}) => {
    const key = [name, ...Object.values(definitions)].join("/");
    let source = known.get(key);
    if (source === undefined) {
      const code = expandTemplate(text, definitions, all);
      const [, ...bound] = code.match(/@binding\(/g) ?? [];
      source = { key, code, parameters, bindings: bindings.slice(0, bound.length) };
      known.set(key, source);
    }
    return source;
  };
}
