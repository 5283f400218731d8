import { philox4x32, philoxKey } from "../../compute/random/philox.ts";
import { type Box, crop, mirrored, type Image } from "./image.ts";
import { resize } from "./resize.ts";

/** Tells these draws from others under the same seed. */
const STREAM = 0x61756767;
const TRIES = 10;
const [SMALLEST, LARGEST] = [0.5, 1];
const [NARROWEST, WIDEST] = [Math.log(3 / 4), Math.log(4 / 3)];

/** What is done to one image of one epoch. */
export interface Augmentation {
  readonly box: Box;
  readonly mirror: boolean;
}

/**
 * Draws the part of an image that an epoch sees, and whether it is mirrored: torchvision's `RandomResizedCrop` (an area of
 * 0.5 to 1, proportions of 3/4 to 4/3, the middle where ten tries do not fit) and `RandomHorizontalFlip`, from our own
 * generator. A function of its arguments alone: a resumed run sees the same parts.
 *
 * @param index of the image in its set
 */
export function drawAugmentation(
  { width, height }: Pick<Image, "width" | "height">,
  seed: bigint,
  epoch: number,
  index: number,
): Augmentation {
  const key = philoxKey(seed);
  const words = new Uint32Array(4);
  const draw = (attempt: number) => {
    philox4x32(words, [index, epoch, STREAM, attempt], key);
    return Array.from(words, (word) => word / 2 ** 32) as [number, number, number, number];
  };
  const mirror = draw(TRIES)[0] < 0.5;
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const [size, shape, across, down] = draw(attempt);
    const area = width * height * (SMALLEST + (LARGEST - SMALLEST) * size);
    const ratio = Math.exp(NARROWEST + (WIDEST - NARROWEST) * shape);
    const wide = Math.round(Math.sqrt(area * ratio));
    const high = Math.round(Math.sqrt(area / ratio));
    if (wide < 1 || high < 1 || wide > width || high > height) continue;
    const left = Math.floor(across * (width - wide + 1));
    const top = Math.floor(down * (height - high + 1));
    return { box: { left, top, right: left + wide, bottom: top + high }, mirror };
  }
  // The largest part in the middle whose proportions are allowed.
  const wide = Math.max(1, Math.min(width, Math.round((height * 4) / 3)));
  const high = Math.max(1, Math.min(height, Math.round((width * 4) / 3)));
  const [left, top] = [Math.floor((width - wide) / 2), Math.floor((height - high) / 2)];
  return { box: { left, top, right: left + wide, bottom: top + high }, mirror };
}

/** Cuts out a part, resizes it (bicubic) and mirrors it, in torchvision's order. */
export function augment(
  image: Image,
  { box, mirror }: Augmentation,
  { width, height }: { readonly width: number; readonly height: number },
): Image {
  const part = resize(crop(image, box), width, height, "bicubic");
  return mirror ? mirrored(part) : part;
}
