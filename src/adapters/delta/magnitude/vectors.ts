import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import type { Adapter, AdapterTensor } from "../../files/adapter.ts";
import { readValues, requireFloats } from "../../files/tensors.ts";

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
