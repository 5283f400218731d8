import { stat } from "node:fs/promises";
import { naming } from "../../files/failure.ts";
import { readWhole } from "../../files/read-whole.ts";
import { type Admit, decodeImage, MOST_PIXELS } from "./decode.ts";
import { type Box, crop, type Image, mirrored } from "./image.ts";
import type { Preprocessing } from "./preprocessing.ts";
import type { Source } from "./datasets/types.ts";
import { resize } from "./resize.ts";
import { philox4x32, philoxKey } from "../../compute/random/philox.ts";

/** Of one image's file. */
const MOST_BYTES = 2 ** 28;
/** Larger ones are read a few at a time. */
const LARGE_BYTES = 2 ** 26;

/** One image to read and prepare. It can be sent to a thread. */
export interface Job {
  readonly source: Source;
  /** Turn it as its EXIF data say. */
  readonly upright: boolean;
  readonly preprocessing: Preprocessing;
  /** See a random part of it, as {@link drawAugmentation} draws it. */
  readonly augmentation?: { readonly seed: bigint; readonly epoch: number; readonly index: number };
}

/**
 * Reads an image and prepares it.
 *
 * @param admit asked once, before what takes much memory
 * @returns height · width · 3 bytes, of the preprocessing's size
 * @throws {RandloraError} `file` when it cannot be read, `format` as {@link decodeImage}
 */
export async function runJob(job: Job, admit?: Admit): Promise<Uint8Array> {
  let isLarge = false;
  const asked: Admit = async (pixels) => {
    isLarge = true;
    await admit?.(pixels);
  };
  const bytes = await prepared(job, asked);
  // What was decoded would stay in memory until more has come together.
  if (isLarge) Bun.gc(true);
  return bytes;
}

async function prepared({ source, upright, preprocessing, augmentation }: Job, admit: Admit): Promise<Uint8Array> {
  const image = await imageOf(source, upright, admit);
  if (augmentation === undefined) return prepare(image, preprocessing).data;
  const { seed, epoch, index } = augmentation;
  return augment(image, drawAugmentation(image, seed, epoch, index), preprocessing).data;
}

async function imageOf({ name, from }: Source, upright: boolean, admit: Admit): Promise<Image> {
  if ("bytes" in from) return await decodeImage(from.bytes, name, { upright, admit });
  // A file that takes much memory itself: as if it had the most pixels.
  const isLarge = (await naming(from.file, "read", stat(from.file))).size > LARGE_BYTES;
  if (isLarge) await admit(MOST_PIXELS);
  const bytes = await readWhole(from.file, MOST_BYTES);
  return await decodeImage(bytes, name, isLarge ? { upright } : { upright, admit });
}

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

/** Tells these draws from others under the same seed. */
const STREAM = 0x61756767;
const TRIES = 10;
const [SMALLEST, LARGEST] = [0.5, 1];
const [NARROWEST, WIDEST] = [Math.log(3 / 4), Math.log(4 / 3)];

/** What is done to one image of one epoch. */
interface Augmentation {
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
