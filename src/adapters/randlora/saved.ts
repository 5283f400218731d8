import { RandloraError } from "../../errors.ts";
import { dtypeBytes } from "../../safetensors/dtype.ts";
import { oneLine, quote } from "../../safetensors/failure.ts";
import type { Adapter, AdapterTensor } from "../types.ts";
import type { SavedProjection } from "../../bases/saved.ts";
import { basesCount } from "../../bases/bases.ts";

/** PEFT's names of the shared pair; unlike every other tensor's they begin with `base_model.` and not `…model.`. */
export const SAVED_A = "base_model.randlora_A";
export const SAVED_B = "base_model.randlora_B";

/** The pair of bases that an adapter file holds: A (r, 1, min), B (max, ⌈min/r⌉, r). */
export interface SavedPair {
  readonly a: AdapterTensor;
  readonly b: AdapterTensor;
  readonly max: number;
  readonly min: number;
}

/** Is this tensor a base: of the shared pair, or of PEFT's copies of it, one a layer? */
export function isBasesTensor(name: string): boolean {
  return /(?:^|\.)randlora_[AB]$/.test(name);
}

/**
 * Leaves one pair of bases among the tensors of a PEFT file, under {@link SAVED_A} and {@link SAVED_B}: the shared one,
 * else the first layer's. The copies are not read; their shapes must be those of the pair.
 * Throws `RandloraError` "format" when they are not.
 */
export function shareProjections(tensors: readonly AdapterTensor[], file: string): AdapterTensor[] {
  const shared = new Map<string, AdapterTensor>();
  for (const letter of ["A", "B"]) {
    const copies = tensors.filter(({ name }) => isBasesTensor(name) && name.endsWith(letter));
    const pair = copies.find(({ name }) => !/^.+\.randlora_/.test(name.replace(/^base_model\./, ""))) ?? copies[0];
    if (pair === undefined) continue;
    const other = copies.find(({ shape, dtype }) => String(shape) !== String(pair.shape) || dtype !== pair.dtype);
    if (other !== undefined) {
      const cause = `${quote(other.name)} and ${quote(pair.name)} are ${describe(other)} and ${describe(pair)}`;
      throw new RandloraError("format", `${oneLine(file)}: ${cause}`, "all layers must share one pair of bases");
    }
    shared.set(pair.name, { ...pair, name: letter === "A" ? SAVED_A : SAVED_B });
  }
  return tensors.flatMap((tensor) => (isBasesTensor(tensor.name) ? (shared.get(tensor.name) ?? []) : tensor));
}

/** The bases that an adapter holds, or `undefined`. Throws `RandloraError` "format" for half a pair or odd shapes. */
export function findSaved(adapter: Adapter, r: number): SavedPair | undefined {
  const a = adapter.tensors.get(SAVED_A);
  const b = adapter.tensors.get(SAVED_B);
  if (a === undefined && b === undefined) return undefined;
  const refuse = (cause: string) =>
    new RandloraError("format", `${oneLine(adapter.file)}: ${cause}`, "A is (r, 1, min) and B (max, ⌈min/r⌉, r)");
  if (a === undefined || b === undefined) {
    throw refuse(`tensor ${quote(a === undefined ? SAVED_A : SAVED_B)} is missing beside the other of the pair`);
  }
  const [rank, one, min = 0] = a.shape;
  const [max = 0, n, rankB] = b.shape;
  const odd = a.shape.length !== 3 || b.shape.length !== 3 || min < 1 || max < min;
  if (odd || rank !== r || one !== 1 || rankB !== r || n !== basesCount(min, r)) {
    throw refuse(`bases of ${describe(a)} and ${describe(b)} do not fit r = ${r}`);
  }
  return { a, b, max, min };
}

/** A saved base as a matrix that is read in portions of rows. Throws `RandloraError` "adapter" for an odd dtype. */
export function toProjection(tensor: AdapterTensor, file: string): SavedProjection {
  const { dtype, shape, name } = tensor;
  if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16") {
    const cause = `tensor ${quote(name)} is ${dtype}, not F32, F16 or BF16`;
    throw new RandloraError("adapter", `${oneLine(file)}: ${cause}`, "save the adapter in f32");
  }
  const [rows = 0] = shape;
  const cols = shape.slice(1).reduce((product, size) => product * size, 1);
  const rowBytes = cols * dtypeBytes(dtype);
  return {
    name: `${oneLine(file)}: ${name}`,
    dtype,
    rows,
    cols,
    async read(row, count) {
      const bytes = new Uint8Array(count * rowBytes);
      await tensor.read(bytes, row * rowBytes);
      return bytes;
    },
  };
}

function describe({ dtype, shape }: AdapterTensor): string {
  return `${dtype} [${shape.join(", ")}]`;
}
