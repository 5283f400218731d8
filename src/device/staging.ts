/**
 * How a device's kernels bring operands to the multiplier: shuffled inside one subgroup, or through workgroup memory. It
 * decides about bits, so a run keeps the one that it began with.
 */
export type Staging = { readonly kind: "subgroup"; readonly lanes: number } | { readonly kind: "workgroup" };
