import { THETA_BLOCK, type ThetaKey } from "../../compute/device/families/theta.ts";
import { philox4x32, philoxByte } from "../../compute/random/philox.ts";
import { sha256OfF32 } from "../../compute/random/sha256.ts";

/*
 * The bases θ_i of PRANC (Nooralinejad et al., arXiv:2206.08464) as philox-v1 draws them. Basis i is one long vector over
 * all adapted layers: those of the record, one after the other, each begins at a multiple of 16 elements, its own are in
 * the order of ΔW (out, in), row by row. Element e of basis i is byte e mod 16, little-endian, of the words
 *
 *   philox4x32_10(counter = (low, high 32 bits of ⌊e / 16⌋, i, 1), key = (low, high 32 bits of the seed))
 *
 * The last word of the counter, 1, sets them apart from RandLoRA's bases, whose is 0. Byte b stands for (2b − 255)/255: 256
 * numbers evenly from −1 to 1. In a layer that is times 1/√in: a basis is the network as PyTorch initializes it
 * (nn.Linear: uniform within ±1/√in).
 */

export type { ThetaKey } from "../../compute/device/families/theta.ts";

/** Elements that a fingerprint covers. */
const HEAD = 4096;

const words = new Uint32Array(4);

/** Element `at` of a basis, before its layer's 1/√in: 256 values from −1 to 1. */
export function thetaElement([low, high]: ThetaKey, basis: number, at: number): number {
  const block = Math.floor(at / THETA_BLOCK);
  philox4x32(words, [block % 2 ** 32, Math.floor(block / 2 ** 32), basis, 1], [low, high]);
  return (2 * philoxByte(words, at % THETA_BLOCK) - 255) / 255;
}

/**
 * SHA-256 of the first 4096 elements of basis 0, as little-endian f32, and of the layers in their order, a line
 * `MODULE OUT IN` each: a redraw that differs is noticed, and so are layers that were exchanged.
 */
export function thetaFingerprint(
  key: ThetaKey,
  layers: readonly { readonly module: string; readonly out: number; readonly in: number }[],
): string {
  const head = Float32Array.from({ length: HEAD }, (_, at) => thetaElement(key, 0, at));
  const lines = layers.map(({ module, out, in: input }) => `${module} ${out} ${input}\n`).join("");
  return sha256OfF32(head, lines);
}

/** Where each layer begins in the bases, in elements. */
export function thetaOffsets(layers: readonly { readonly out: number; readonly in: number }[]): number[] {
  let end = 0;
  return layers.map(({ out, in: input }) => {
    const begin = end;
    end += Math.ceil((out * input) / THETA_BLOCK) * THETA_BLOCK;
    return begin;
  });
}

/**
 * What one coefficient of size 1 multiplies a layer's elements by, of which each is within ±1: alpha/√K/√in. With K
 * coefficients from N(0, 1), and alpha 1, ΔW is as large as another initialization of the layer.
 */
export function thetaScale(alpha: number, bases: number, input: number): number {
  return alpha / Math.sqrt(bases * input);
}
