import { RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";
import { readWhole } from "../../../files/read-whole.ts";
import { blank, type Picture } from "../image.ts";
import { checkedLabel } from "./files.ts";
import type { PictureSet, Source } from "./types.ts";

/** Of files that hold all pictures of a set; the largest that is read is STL10's unlabelled part's tenth. */
const MOST_BYTES = 2 ** 31;

/** Reads a file that holds many pictures. @throws {RandloraError} as {@link readWhole} */
export async function readPixels(path: string): Promise<Uint8Array> {
  return await readWhole(path, MOST_BYTES);
}

/**
 * A set whose pictures lie in memory.
 *
 * @param picture makes picture `index`
 */
export function pixelSet(
  path: string,
  classes: readonly string[],
  labels: ArrayLike<number>,
  picture: (index: number) => Picture,
): PictureSet {
  const name = oneLine(path);
  if (labels.length === 0) throw new RandloraError("data", `${name}: no pictures`);
  return {
    path: name,
    classes,
    texts: classes,
    labels: Uint32Array.from(labels, (label) => checkedLabel(label, classes.length, name)),
    upright: false,
    files: [],
    source: (index): Source => ({ name: `${name}: picture ${index + 1}`, from: { picture: picture(index) } }),
  };
}

/** Where the bytes of a picture lie: a plane for each colour, in rows or, as MATLAB has it, in columns. */
export interface Planes {
  readonly width: number;
  readonly height: number;
  readonly order: "rows" | "columns";
}

/** A picture of three planes, the first of which begins at `at`. */
export function fromPlanes(bytes: Uint8Array, at: number, { width, height, order }: Planes): Picture {
  const picture = blank(width, height);
  const plane = width * height;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = at + (order === "rows" ? y * width + x : x * height + y);
      for (let colour = 0; colour < 3; colour++) picture.data[to++] = bytes[from + colour * plane] as number;
    }
  }
  return picture;
}
