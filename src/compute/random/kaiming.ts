import { philox4x32 } from "./philox.ts";

/**
 * Numbers for a matrix (out, in) as torch.nn.init.kaiming_uniform_(a = √5) spreads them: uniform in ±1/√in. They are a
 * function of the seed, of `stream` (which matrix it is) and of their place.
 */
export function kaimingUniform(out: number, input: number, seed: number, stream: number): Float32Array<ArrayBuffer> {
  const bound = 1 / Math.sqrt(input);
  const numbers = new Float32Array(out * input);
  const words = new Uint32Array(4);
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32)] as const;
  for (let at = 0; at < numbers.length; at += 4) {
    philox4x32(words, [at / 4, stream, PURPOSE, 0], key);
    for (let i = 0; i < 4 && at + i < numbers.length; i++) {
      numbers[at + i] = ((2 * (words[i] ?? 0) + 1) / 2 ** 32 - 1) * bound;
    }
  }
  return numbers;
}

/** "init": other draws with the same seed are independent. */
const PURPOSE = 0x696e6974;
