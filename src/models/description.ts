// Descriptions of models: objects and lists whose fields are planned matrices, or, once these are placed, tensors.
import type { Tensor } from "../compute/tensor/tensor.ts";
import { inParts, type PlannedMatrix, storedIn, storedTransposed } from "./tensor-plan.ts";

/** The same description with its planned matrices in GPU memory. */
export type Placed<T> = T extends PlannedMatrix
  ? Tensor
  : T extends object
    ? { readonly [K in keyof T]: Placed<T[K]> }
    : T;

/** Places every matrix of a description, in the order of its fields; one that stands there twice once. */
export function placeIn<T>(description: T, place: (planned: PlannedMatrix) => Tensor): Placed<T> {
  return mapPlanned(description, place) as Placed<T>; // the same fields
}

/** The description by the names that a checkpoint with these tensors has for its matrices. */
export function asStored<T>(description: T, tensors: ReadonlyMap<string, unknown>): T {
  if (!plannedIn(description).some(({ otherwise }) => otherwise !== undefined)) return description;
  return mapPlanned(description, (planned) => storedIn(tensors, planned)) as T; // the same fields, of the same types
}

/** The description of matrices in the parts that are adapted and trained. */
export function asDivided<T>(description: T): T {
  return mapPlanned(description, inParts) as T; // the same fields, of the same types
}

/** The description of matrices that some files have by their names behind one beginning, and some behind another. */
export function behindEither<T>(description: T, rename: (name: string, at: 0 | 1) => string): T {
  const renamed = (planned: PlannedMatrix): PlannedMatrix => {
    const all = [planned.parts, ...(planned.otherwise ?? [])];
    const [parts = [], ...otherwise] = ([0, 1] as const).flatMap((at) =>
      all.map((some) => some.map((part) => ({ ...part, name: rename(part.name, at) }))),
    );
    return { ...planned, parts, otherwise };
  };
  return mapPlanned(description, renamed) as T; // the same fields, of the same types
}

/** The description of linear layers that a checkpoint stores transposed. */
export function linearsTransposed<T>(description: T): T {
  const map = (planned: PlannedMatrix) => (planned.kind === "linear" ? storedTransposed(planned) : planned);
  return mapPlanned(description, map) as T; // the same fields, of the same types
}

function mapPlanned(description: unknown, map: (planned: PlannedMatrix) => unknown): unknown {
  const known = new Map<PlannedMatrix, unknown>();
  const mapped = (value: unknown): unknown => {
    if (isPlanned(value)) {
      const result = known.get(value) ?? map(value);
      known.set(value, result);
      return result;
    }
    if (Array.isArray(value)) return value.map(mapped);
    if (typeof value !== "object" || value === null || value instanceof Set) return value;
    return Object.fromEntries(Object.entries(value).map(([field, item]) => [field, mapped(item)]));
  };
  return mapped(description);
}

/** Every planned matrix of a description, in the order of its fields. */
export function plannedIn(description: unknown): PlannedMatrix[] {
  return [...new Set(leaves(description, isPlanned))];
}

/** Every tensor of a placed description, in the order of its fields. */
export function tensorsIn(description: unknown): Tensor[] {
  return [...new Set(leaves(description, isTensor))];
}

function leaves<T>(value: unknown, isLeaf: (value: object) => value is T & object): T[] {
  if (typeof value !== "object" || value === null) return [];
  return isLeaf(value) ? [value] : Object.values(value).flatMap((item) => leaves(item, isLeaf));
}

function isPlanned(value: unknown): value is PlannedMatrix {
  return typeof value === "object" && value !== null && "parts" in value && "cols" in value;
}

function isTensor(value: object): value is Tensor {
  return "buffer" in value && "pitch" in value;
}
