/** A decoded image: rows from the top, three bytes a pixel (red, green, blue). */
export interface Image {
  readonly width: number;
  readonly height: number;
  /** height · width · 3 bytes. */
  readonly data: Uint8Array;
}

/** A part of an image, in pixels; `right` and `bottom` are the first column and row outside. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** EXIF's orientation: 1 is upright; 5 to 8 exchange width and height. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

/** A black image. */
export function blank(width: number, height: number): { width: number; height: number; data: Uint8Array } {
  return { width, height, data: new Uint8Array(width * height * 3) };
}

/** The part of an image inside `box`; what lies outside of the image is black, as Pillow's `crop` has it. */
export function crop(image: Image, box: Box): Image {
  const { width, height } = image;
  if (box.left === 0 && box.top === 0 && box.right === width && box.bottom === height) return image;
  const part = blank(box.right - box.left, box.bottom - box.top);
  const left = Math.max(0, box.left);
  const right = Math.min(image.width, box.right);
  if (right <= left) return part;
  for (let y = Math.max(0, box.top); y < Math.min(image.height, box.bottom); y++) {
    const row = y * image.width;
    part.data.set(
      image.data.subarray((row + left) * 3, (row + right) * 3),
      ((y - box.top) * part.width + left - box.left) * 3,
    );
  }
  return part;
}

/** Mirrored: left and right change places. */
export function mirrored(image: Image): Image {
  return turned(image, 2);
}

/** An image turned upright, as Pillow's `ImageOps.exif_transpose` does. */
export function turned(image: Image, orientation: Orientation): Image {
  if (orientation === 1) return image;
  const { width, height, data } = image;
  const exchanged = orientation > 4;
  const result = exchanged ? blank(height, width) : blank(width, height);
  // What stands at (x, y) of the result is read at (column, row); each is x or y, counted from either end.
  const fromRight = orientation === 2 || orientation === 3 || orientation === 7 || orientation === 8;
  const fromBottom = orientation === 3 || orientation === 4 || orientation === 6 || orientation === 7;
  let at = 0;
  for (let y = 0; y < result.height; y++) {
    for (let x = 0; x < result.width; x++) {
      const across = exchanged ? y : x;
      const down = exchanged ? x : y;
      const column = fromRight ? width - 1 - across : across;
      const row = fromBottom ? height - 1 - down : down;
      const from = (row * width + column) * 3;
      result.data[at++] = data[from] as number;
      result.data[at++] = data[from + 1] as number;
      result.data[at++] = data[from + 2] as number;
    }
  }
  return result;
}
