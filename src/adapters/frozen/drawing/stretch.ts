import type { Mt19937 } from "../../../compute/random/mt19937.ts";
import { DRAWS_AT_ONCE } from "./dense-draw.ts";
import type { Steps } from "./steps.ts";

/** Draws between two steps. */
const STEP = 1 << 18;

const draws = new Uint32Array(DRAWS_AT_ONCE);

/** Calls `use` with `count` draws, a portion at a time; `at` is the place of the first. Yields now and then. */
export function* drawStretch(
  generator: Mt19937,
  count: number,
  use: (draws: Uint32Array, count: number, at: number) => void,
): Steps<void> {
  for (let step = 0; step < count; step += STEP) {
    const end = Math.min(count, step + STEP);
    for (let at = step; at < end; at += DRAWS_AT_ONCE) {
      const portion = Math.min(DRAWS_AT_ONCE, end - at);
      generator.draw(draws, 0, portion);
      use(draws, portion, at);
    }
    yield;
  }
}
