import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import type { Adapter, AdapterTensor } from "../../files/adapter.ts";
import { readValues, requireFloats } from "../../files/tensors.ts";
import type { DeviceBuffer } from "../../../compute/device/device.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import { partCols, type Tensor } from "../../../compute/tensor/tensor.ts";
import type { Recorder } from "../../../compute/tensor/recorder.ts";
import { type Linears, projectGroups } from "../../../models/blocks/linears.ts";

/** What a method calls its magnitudes: `lora_magnitude_vector`. */
export type MagnitudeName = `${string}_magnitude_vector`;

/** The magnitude of one module, one number an output: PEFT saves it without `.weight`, which is read as well. */
export function magnitudeName(module: string, name: MagnitudeName): string {
  return `${module}.${name}`;
}

/** The module whose magnitude a tensor is, by its name. */
export function moduleOfMagnitude(tensor: string, name: MagnitudeName): string | undefined {
  const plain = tensor.endsWith(".weight") ? tensor.slice(0, -".weight".length) : tensor;
  return plain.endsWith(`.${name}`) ? plain.slice(0, -name.length - 1) : undefined;
}

/**
 * The magnitudes of modules (out), in their order.
 * @throws RandloraError `format` where one is missing, there twice, or of no module; `adapter` for another shape or dtype
 */
export function findMagnitudes(
  adapter: Adapter,
  modules: readonly { readonly module: string; readonly out: number }[],
  name: MagnitudeName,
): AdapterTensor[] {
  const found = new Map<string, AdapterTensor>();
  const known = new Set(modules.map(({ module }) => module));
  const refuse = (cause: string) => {
    return new RandloraError("format", `${oneLine(adapter.file)}: ${cause}`, "the file is incomplete: save it again");
  };
  for (const [of, tensor] of adapter.tensors) {
    const module = moduleOfMagnitude(of, name);
    if (module === undefined) continue;
    if (!known.has(module)) throw refuse(`${quote(of)} is of no adapted module`);
    if (found.has(module))
      throw refuse(`${quote(magnitudeName(module, name))} is there twice, with .weight and without`);
    found.set(module, tensor);
  }
  return modules.map(({ module, out }) => {
    const tensor = found.get(module);
    if (tensor === undefined) throw refuse(`${quote(magnitudeName(module, name))} is missing`);
    requireFloats(adapter, tensor);
    if (tensor.shape.length === 1 && tensor.shape[0] === out) return tensor;
    const shape = `tensor ${quote(tensor.name)} has shape [${tensor.shape.join(", ")}]`;
    const hint = "a magnitude has one number for each output of its module";
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${shape}, not [${out}]`, hint);
  });
}

/** The same as numbers. Throws `RandloraError` "numeric" naming the tensor that holds NaN or infinity, too. */
export async function readMagnitudes(
  adapter: Adapter,
  modules: readonly { readonly module: string; readonly out: number }[],
  name: MagnitudeName,
): Promise<Float32Array<ArrayBuffer>[]> {
  return await Promise.all(findMagnitudes(adapter, modules, name).map((tensor) => readValues(adapter, tensor)));
}

/** What the outputs of a matrix are multiplied by. */
export interface OutputFactors {
  /** c (1, out), in whole vectors: 1 for the rows of modules that are not adapted. Of experts, as many for each. */
  readonly factors: Tensor;
}

/**
 * The decoder's projections with rescaled outputs: y = c ⊙ z + bias + residual, where z = x (W + ΔW)ᵀ is what another
 * method computes. With dropout z is x Wᵀ + drop(x) ΔWᵀ: PEFT drops the input of c − 1 times the frozen product as well
 * (lora/variants.py), which adds noise and has no other mean.
 */
export function rescaledLinears(inner: Linears, matrices: ReadonlyMap<DeviceBuffer, OutputFactors>): Linears {
  return {
    apply(recorder, inputs) {
      const matrix = matrices.get(inputs.weight.buffer);
      if (matrix === undefined) return inner.apply(recorder, inputs);
      const { x, weight, bias, residual } = inputs;
      const z = inner.apply(recorder, { x, weight, bias: undefined, residual: undefined });
      const [out] = weight.shape;
      const scale = partCols(matrix.factors, weight.offset / weight.pitch, out);
      const { y } = recorder.apply(OPS.scaleColumns, { x: z, scale, bias, residual }, {});
      recorder.release(z);
      return y;
    },
    applyGrouped(recorder, projection) {
      const z = projectGroups(recorder, inner, projection);
      const matrix = matrices.get(projection.weight.buffer);
      if (matrix === undefined) return z;
      const factors = factorsOfRows(recorder, matrix.factors, projection.begins, z);
      const { y } = recorder.apply(OPS.multiply, { a: z, b: factors }, {});
      recorder.release(z, factors);
      return y;
    },
  };
}

/** Records c of each row's expert, as products of 1 with the row of c that is the expert's. @param like of the rows' shape */
function factorsOfRows(recorder: Recorder, all: Tensor, begins: Tensor, { shape }: Tensor): Tensor {
  const [rows, cols] = shape;
  const experts = begins.shape[1] - 1;
  const ofExperts = (tensor: Tensor): Tensor => {
    return { ...tensor, shape: [experts, cols], pitch: tensor.shape[1] / experts };
  };
  const a = recorder.upload("ones", [rows, 1], new Float32Array(rows).fill(1));
  const y = recorder.allocate("factors of rows", shape);
  recorder.run.compute("groupedGemm", { order: "NN", a, b: ofExperts(all), begins, y });
  recorder.record({
    name: "factors of rows",
    inputs: [all],
    adds: [true],
    outputs: [y],
    saves: () => [a, begins],
    backward: (run, [dy], [into]) => {
      if (dy === undefined || into === undefined) return;
      run.compute("groupedGemm", { order: "TN", a, b: dy, begins, y: ofExperts(into) });
    },
  });
  // Not the ones: a pass that is recorded once needs them as long as it is sent.
  return y;
}
