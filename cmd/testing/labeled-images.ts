// Labeled images that a small model can tell apart: each class has a color, each image a pattern of its own.
import { join } from "node:path";

const COLORS = { cat: [220, 60, 40], dog: [40, 200, 60], owl: [50, 60, 210] } as const;
const SIDE = 16;

/** A PPM image of a color. */
function ppm(color: readonly number[], number: number): Blob {
  const pixels = new Uint8Array(SIDE * SIDE * 3).map((_, at) => {
    const value = (color[at % 3] ?? 0) + 40 * Math.sin(at * (number + 1) + number);
    return Math.max(0, Math.min(255, value));
  });
  return new Blob([`P6\n${SIDE} ${SIDE}\n255\n`, pixels]);
}

/** Writes images of a split, `count` a class. */
export async function writeImages(folder: string, split: string, count: number, first = 0): Promise<void> {
  for (const [name, color] of Object.entries(COLORS)) {
    for (let i = first; i < first + count; i++) {
      await Bun.write(join(folder, split, name, `${i}.ppm`), ppm(color, i));
    }
  }
}
