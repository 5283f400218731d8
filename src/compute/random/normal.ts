import { philox4x32, philoxKey } from "./philox.ts";

/** "head": other draws with the same seed are independent. */
const PURPOSE = 0x68656164;

/**
 * Numbers of a normal distribution around zero (Box and Muller, 1958), a function of the seed and of their place.
 * @param deviation standard deviation
 */
export function normal(count: number, deviation: number, seed: bigint): Float32Array<ArrayBuffer> {
  const numbers = new Float32Array(count);
  const words = new Uint32Array(4);
  const key = philoxKey(seed);
  for (let at = 0; at < count; at += 4) {
    philox4x32(words, [at / 4, 0, PURPOSE, 0], key);
    for (let pair = 0; pair < 4; pair += 2) {
      const [first = 0, second = 0] = words.subarray(pair, pair + 2);
      // Between 0 and 1, neither of them.
      const radius = Math.sqrt(-2 * Math.log((first + 0.5) / 2 ** 32)) * deviation;
      const angle = (2 * Math.PI * second) / 2 ** 32;
      if (at + pair < count) numbers[at + pair] = radius * Math.cos(angle);
      if (at + pair + 1 < count) numbers[at + pair + 1] = radius * Math.sin(angle);
    }
  }
  return numbers;
}
