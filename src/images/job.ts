import { readWhole } from "../files/read-whole.ts";
import { augment, drawAugmentation } from "./augment.ts";
import { decodePicture } from "./decode.ts";
import { crop, type Picture } from "./picture.ts";
import { prepare } from "./prepare.ts";
import type { Preprocessing } from "./preprocessing.ts";
import type { Source } from "./sets/types.ts";

/** Of one picture's file. */
const MOST_BYTES = 2 ** 28;

/** One picture to read and prepare. It can be sent to a thread. */
export interface Job {
  readonly source: Source;
  /** Turn it as its EXIF data say. */
  readonly upright: boolean;
  readonly preprocessing: Preprocessing;
  /** See a random part of it, as {@link drawAugmentation} draws it. */
  readonly augmentation?: { readonly seed: bigint; readonly epoch: number; readonly index: number };
}

/**
 * Reads a picture and prepares it.
 *
 * @returns height · width · 3 bytes, of the preprocessing's size
 * @throws {RandloraError} `file` when it cannot be read, `format` as {@link decodePicture}
 */
export async function runJob({ source, upright, preprocessing, augmentation }: Job): Promise<Uint8Array> {
  const whole = await pictureOf(source, upright);
  const picture = source.box === undefined ? whole : crop(whole, source.box);
  if (augmentation === undefined) return prepare(picture, preprocessing).data;
  const { seed, epoch, index } = augmentation;
  return augment(picture, drawAugmentation(picture, seed, epoch, index), preprocessing).data;
}

async function pictureOf({ name, from }: Source, upright: boolean): Promise<Picture> {
  if ("picture" in from) return from.picture;
  const bytes = "bytes" in from ? from.bytes : await readWhole(from.file, MOST_BYTES);
  return await decodePicture(bytes, name, { upright });
}
