import { philox4x32, philoxBlockElements, philoxByte } from "./philox.ts";

const BLOCK = philoxBlockElements("dense");
const words = new Uint32Array(4);

/** Element `at` of a basis of PRANC, before its layer's 1/√in: 256 values from −1 to 1. `adapters/pranc/stream.ts` defines them. */
export function thetaElement([low, high]: readonly [number, number], basis: number, at: number): number {
  const block = Math.floor(at / BLOCK);
  philox4x32(words, [block % 2 ** 32, Math.floor(block / 2 ** 32), basis, 1], [low, high]);
  return (2 * philoxByte(words, at % BLOCK) - 255) / 255;
}
