import { MOST_PIXELS } from "./decode.ts";

/** Pixels that are decoded at once, granted in the order in which they were asked for. */
export class PixelBudget {
  #free: number;
  readonly #total: number;
  readonly #waiting: { readonly pixels: number; readonly begin: () => void }[] = [];

  constructor(total: number) {
    this.#free = total;
    this.#total = total;
  }

  /** Waits for its turn. More than there is in all gets all. @returns what gives the share back */
  async take(pixels: number): Promise<Disposable> {
    const share = Math.min(pixels, this.#total);
    if (this.#waiting.length > 0 || share > this.#free) {
      await new Promise<void>((begin) => this.#waiting.push({ pixels: share, begin }));
    } else this.#free -= share;
    let held = share;
    return {
      [Symbol.dispose]: () => {
        this.#free += held;
        held = 0;
        this.#grant();
      },
    };
  }

  #grant(): void {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined || next.pixels > this.#free) return;
      this.#waiting.shift();
      this.#free -= next.pixels;
      next.begin();
    }
  }
}

/** Of all threads of the process. A pixel takes up to 20 bytes while it is decoded, so this is 4 GB at most. */
export const PROCESS_PIXELS = new PixelBudget(2 * MOST_PIXELS);
