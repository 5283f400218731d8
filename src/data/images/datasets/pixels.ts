import { RandloraError } from "../../../files/errors.ts";
import { oneLine } from "../../../files/failure.ts";
import { readWhole } from "../../../files/read-whole.ts";
import { blank, type Image } from "../image.ts";
import { checkedLabel } from "./files.ts";
import type { ImageSet, Source } from "./types.ts";

/** Of files that hold all images of a set; the largest that is read is STL10's unlabeled part's tenth. */
const MOST_BYTES = 2 ** 31;

/** Reads a file that holds many images. @throws {RandloraError} as {@link readWhole} */
export async function readPixels(path: string): Promise<Uint8Array> {
  return await readWhole(path, MOST_BYTES);
}

/**
 * A set whose images lie in memory.
 *
 * @param image makes image `index`
 */
export function pixelSet(
  path: string,
  classes: readonly string[],
  labels: ArrayLike<number>,
  image: (index: number) => Image,
): ImageSet {
  const name = oneLine(path);
  if (labels.length === 0) throw new RandloraError("data", `${name}: no images`);
  return {
    path: name,
    classes,
    texts: classes,
    labels: Uint32Array.from(labels, (label) => checkedLabel(label, classes.length, name)),
    upright: false,
    files: [],
    source: (index): Source => ({ name: `${name}: image ${index + 1}`, from: { image: image(index) } }),
  };
}

/** Where the bytes of an image lie: a plane for each color, in rows or, as MATLAB has it, in columns. */
export interface Planes {
  readonly width: number;
  readonly height: number;
  readonly order: "rows" | "columns";
}

/** An image of three planes, the first of which begins at `at`. */
export function fromPlanes(bytes: Uint8Array, at: number, { width, height, order }: Planes): Image {
  const image = blank(width, height);
  const plane = width * height;
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = at + (order === "rows" ? y * width + x : x * height + y);
      for (let color = 0; color < 3; color++) image.data[to++] = bytes[from + color * plane] as number;
    }
  }
  return image;
}
