/** How a drawn number is stored or rounded: IEEE single, bfloat16, IEEE half. */
export type FloatGrid = "f32" | "bf16" | "f16";

/** Dense uniform elements, or ternary ones with density 1/3 ("sparse") or 1/√min ("very-sparse"). */
export type Sparsity = "dense" | "sparse" | "very-sparse";

/** Every named way to draw random bases. The name of a dense PyTorch generator says the dtype and the version of the map. */
export const GENERATOR_NAMES = [
  "torch-mt19937-bf16-v1",
  "torch-mt19937-bf16-v2",
  "torch-mt19937-f16-v1",
  "torch-mt19937-f16-v2",
  "torch-mt19937-f32",
  "torch-mt19937-ternary",
  "philox-v1",
] as const;

export type GeneratorName = (typeof GENERATOR_NAMES)[number];

/** Does this generator draw bases of this sparsity? */
export function canDraw(generator: GeneratorName, sparsity: Sparsity): boolean {
  if (generator === "philox-v1") return true;
  return (generator === "torch-mt19937-ternary") === (sparsity !== "dense");
}
