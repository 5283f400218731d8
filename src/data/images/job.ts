import { stat } from "node:fs/promises";
import { naming } from "../../files/failure.ts";
import { readWhole } from "../../files/read-whole.ts";
import { augment, drawAugmentation } from "./augment.ts";
import { type Admit, decodeImage, MOST_PIXELS } from "./decode.ts";
import type { Image } from "./image.ts";
import { prepare } from "./prepare.ts";
import type { Preprocessing } from "./preprocessing.ts";
import type { Source } from "./datasets/types.ts";

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
