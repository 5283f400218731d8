// What tests draw by chance is the same each time, unless RANDLORA_TEST_SEED is another number, or `random`.
import { randomInt } from "node:crypto";

/** 2^31: fast-check's seeds are of 32 bits with a sign. */
const END = 2 ** 31;

function seedOf(wish: string | undefined): number {
  if (wish === undefined || wish === "") return 1;
  const seed = wish === "random" ? randomInt(END) : Number(wish);
  if (!Number.isInteger(seed) || seed < 0 || seed >= END)
    throw new Error(`RANDLORA_TEST_SEED=${wish}: it takes "random" or a whole number below ${END}`);
  process.stderr.write(`RANDLORA_TEST_SEED=${seed} draws the same cases again\n`);
  return seed;
}

export const TEST_SEED = seedOf(process.env["RANDLORA_TEST_SEED"]);

/** Numbers in [0, 1), as of mulberry32. */
export function randomFrom(seed = TEST_SEED): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
