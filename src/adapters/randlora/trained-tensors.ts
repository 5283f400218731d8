import type { AdapterTensor } from "../adapter.ts";
import { memoryTensor } from "../files/tensors.ts";
import type { ModuleValues } from "./new-adapter.ts";
import type { BilinearShape } from "../delta/scaled-bases/shape.ts";
import { RANDLORA_TENSORS } from "./plan.ts";

/** A trained tensor of a module, as adapters name it. */
export interface RandloraTensorPlan {
  readonly name: string;
  readonly shape: readonly [rows: number, cols: number];
}

/** λ (r, n) and γ (n, m) of a module: names and shapes, in the order in which PEFT saves them. */
export function randloraTensors(
  module: string,
  { r, bases, cols }: BilinearShape,
): { readonly lambda: RandloraTensorPlan; readonly gamma: RandloraTensorPlan } {
  return {
    lambda: { name: `${module}.${RANDLORA_TENSORS.names.lambda}`, shape: [r, bases] },
    gamma: { name: `${module}.${RANDLORA_TENSORS.names.gamma}`, shape: [bases, cols] },
  };
}

/** The tensors of a module for an adapter's file. The values must not change any more. */
export function adapterTensors(
  module: string,
  shape: BilinearShape,
  values: ModuleValues,
): [lambda: AdapterTensor, gamma: AdapterTensor] {
  const { lambda, gamma } = randloraTensors(module, shape);
  return [tensor(lambda, values.lambda), tensor(gamma, values.gamma)];
}

function tensor({ name, shape }: RandloraTensorPlan, values: Float32Array<ArrayBuffer>): AdapterTensor {
  if (values.length !== shape[0] * shape[1]) throw new RangeError(`${name}: ${values.length} numbers`);
  return memoryTensor(name, "F32", shape, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
}
