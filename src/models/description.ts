// Descriptions of models: objects and lists whose fields are planned matrices, or, once these are placed, tensors.
import type { Tensor } from "../compute/tensor/tensor.ts";
import type { PlannedMatrix } from "./tensor-plan.ts";

/** The same description with its planned matrices in GPU memory. */
export type Placed<T> = T extends PlannedMatrix
  ? Tensor
  : T extends object
    ? { readonly [K in keyof T]: Placed<T[K]> }
    : T;

/** Places every matrix of a description, in the order of its fields; one that stands there twice once. */
export function placeIn<T>(description: T, place: (planned: PlannedMatrix) => Tensor): Placed<T> {
  const known = new Map<PlannedMatrix, Tensor>();
  const placed = (value: unknown): unknown => {
    if (isPlanned(value)) {
      const tensor = known.get(value) ?? place(value);
      known.set(value, tensor);
      return tensor;
    }
    if (Array.isArray(value)) return value.map(placed);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([field, item]) => [field, placed(item)]));
  };
  return placed(description) as Placed<T>; // the same fields
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
