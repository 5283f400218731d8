import { crop, type Image } from "./image.ts";
import type { Preprocessing } from "./preprocessing.ts";
import { resize } from "./resize.ts";

/**
 * Resizes an image and cuts out its middle, as transformers' `CLIPImageProcessorPil` and `BitImageProcessorPil` do, bit
 * for bit. Only what is cut out is computed.
 *
 * @returns an image of the preprocessing's width and height
 */
export function prepare(image: Image, preprocessing: Preprocessing): Image {
  const { filter, crop: middle } = preprocessing;
  const { width, height } = resizedSize(image, preprocessing);
  const wanted = middle ?? { width, height };
  const across = centred(width, wanted.width);
  const down = centred(height, wanted.height);
  const part = resize(image, width, height, filter, {
    left: across.from,
    top: down.from,
    width: across.length,
    height: down.length,
  });
  if (across.length === wanted.width && down.length === wanted.height) return part;
  const [left, top] = [-across.before, -down.before];
  return crop(part, { left, top, right: left + wanted.width, bottom: top + wanted.height });
}

/** transformers' `get_resize_output_image_size`: the longer side is cut to a whole number, not rounded. */
function resizedSize({ width, height }: Image, { resize }: Preprocessing): { width: number; height: number } {
  if (resize === undefined) return { width, height };
  if ("width" in resize) return resize;
  const { shortest } = resize;
  return width <= height
    ? { width: shortest, height: Math.trunc((shortest * height) / width) }
    : { width: Math.trunc((shortest * width) / height), height: shortest };
}

/**
 * The middle `wanted` of `length` pixels, as transformers' `center_crop` has it: the odd pixel that is left over is cut
 * off behind, one that is missing is added before.
 */
function centred(length: number, wanted: number): { from: number; length: number; before: number } {
  if (length >= wanted) return { from: Math.floor((length - wanted) / 2), length: wanted, before: 0 };
  return { from: 0, length, before: Math.ceil((wanted - length) / 2) };
}
