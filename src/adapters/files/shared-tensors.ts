import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { AdapterTensor } from "./adapter.ts";

/** What PEFT's own wrapper is called, beside the base's names below it. */
const WRAPPER = "base_model.";

/** A method, as far as it matters here: the names of tensors that all its layers share. */
interface Sharing {
  readonly shared: readonly string[];
}

/** PEFT's name of a tensor that all layers share; unlike every other's it begins with `base_model.` alone. */
export function sharedName(name: string): string {
  return WRAPPER + name;
}

/** Is this a shared tensor: the one, or a layer's copy of it? */
export function isShared(tensor: string, { shared }: Sharing): boolean {
  return shared.includes(tensor.slice(tensor.lastIndexOf(".") + 1));
}

/**
 * Leaves one of each shared tensor among those of a PEFT file, under its {@link sharedName}: the wrapper's, else the
 * first layer's. The copies are not read; their shapes must be the same.
 * Throws `RandloraError` "format" when they are not.
 */
export function shareTensors(tensors: readonly AdapterTensor[], method: Sharing, file: string): AdapterTensor[] {
  const kept = new Map<string, AdapterTensor>();
  for (const name of method.shared) {
    const copies = tensors.filter((tensor) => tensor.name === name || tensor.name.endsWith(`.${name}`));
    const one = copies.find((tensor) => tensor.name === name || tensor.name === sharedName(name)) ?? copies[0];
    if (one === undefined) continue;
    const other = copies.find(({ shape, dtype }) => String(shape) !== String(one.shape) || dtype !== one.dtype);
    if (other !== undefined) {
      const cause = `${quote(other.name)} and ${quote(one.name)} are ${describe(other)} and ${describe(one)}`;
      throw new RandloraError("format", `${oneLine(file)}: ${cause}`, "all layers must share one pair of bases");
    }
    kept.set(one.name, { ...one, name: sharedName(name) });
  }
  return tensors.flatMap((tensor) => (isShared(tensor.name, method) ? (kept.get(tensor.name) ?? []) : tensor));
}

/** A tensor's dtype and shape in words. */
export function describe({ dtype, shape }: AdapterTensor): string {
  return `${dtype} [${shape.join(", ")}]`;
}
