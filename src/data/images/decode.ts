import { RandloraError } from "../../files/errors.ts";
import { broken, hasText, type Header } from "./formats/bytes.ts";
import {
  readGifHeader,
  readJpegHeader,
  readNetpbm,
  readNetpbmHeader,
  readWebpHeader,
  withoutTransparency,
} from "./formats/headers.ts";
import { isDeepGrey, readPngHeader, readPngPixels } from "./formats/png.ts";
import { type Image, turned } from "./image.ts";

/** Images with more pixels are refused before they are decoded. */
export const MOST_PIXELS = 100_000_000;
/** So are longer ones: no format but PNG has sides of more than 65,535 pixels, and what resizes them takes memory by their length. */
const LONGEST_SIDE = 1_000_000;

/**
 * Waits until so many pixels may be decoded beside what other threads decode. What was granted is given back when the job
 * that asked has ended. A job asks once: one that waits while it holds a share could wait for ever.
 */
export type Admit = (pixels: number) => Promise<void>;

/** Images up to this size are decoded without asking: as many as there are jobs at once take little. */
const UNASKED_PIXELS = 4_000_000;

export interface DecodeOptions {
  /** Turn the image upright as its EXIF data say: transformers' `load_image` does, torchvision's data sets do not. */
  readonly upright: boolean;
  /** Asked between the header and the pixels of an image of more than {@link UNASKED_PIXELS}. */
  readonly admit?: Admit;
}

/**
 * Decodes a JPEG, PNG, WebP, GIF, PPM or PGM, told by its first bytes, to 8 bits of red, green and blue: bit for bit what
 * Pillow's `Image.open(…).convert("RGB")` gives. Alpha is dropped, color profiles are not applied.
 *
 * @param name of the file, fit to be printed, for errors
 * @throws {RandloraError} `format` for other formats, animated images, more than {@link MOST_PIXELS} pixels, and files
 *   that are cut short or broken
 */
export async function decodeImage(bytes: Uint8Array, name: string, { upright, admit }: DecodeOptions): Promise<Image> {
  const { header, pixels } = open(bytes, name);
  const { width, height } = header;
  if (width === 0 || height === 0)
    throw new RandloraError("format", `${name}: an image of ${width} × ${height} pixels`);
  const tooLarge = width * height > MOST_PIXELS ? `more than ${MOST_PIXELS.toLocaleString("en")}` : undefined;
  const problem = tooLarge ?? (Math.max(width, height) > LONGEST_SIDE ? "too long a side" : undefined);
  if (problem !== undefined) {
    throw new RandloraError("format", `${name}: ${width} × ${height} pixels: ${problem}`, "make it smaller first");
  }
  if (width * height > UNASKED_PIXELS) await admit?.(width * height);
  const image = await pixels();
  if (image.width !== width || image.height !== height) throw broken(name, "image", "it has two sizes");
  return upright ? turned(image, header.orientation) : image;
}

/** An image whose header has been read, but not its pixels. */
interface Opened {
  readonly header: Header;
  readonly pixels: () => Image | Promise<Image>;
}

function open(bytes: Uint8Array, name: string): Opened {
  if (hasText(bytes, 0, "\xff\xd8\xff")) {
    return { header: readJpegHeader(bytes, name), pixels: () => byBun(bytes, name, "JPEG") };
  }
  if (hasText(bytes, 0, "\x89PNG\r\n\x1a\n")) {
    const header = readPngHeader(bytes, name);
    return { header, pixels: () => (isDeepGrey(header) ? readPngPixels(header, name) : byBun(bytes, name, "PNG")) };
  }
  if (hasText(bytes, 0, "RIFF") && hasText(bytes, 8, "WEBP")) {
    return { header: readWebpHeader(bytes, name), pixels: () => byBun(bytes, name, "WebP") };
  }
  if (hasText(bytes, 0, "GIF87a") || hasText(bytes, 0, "GIF89a")) {
    const header = readGifHeader(bytes, name);
    return { header, pixels: () => byBun(withoutTransparency(bytes, header), name, "GIF") };
  }
  if (hasText(bytes, 0, "P6") || hasText(bytes, 0, "P5")) {
    const header = readNetpbmHeader(bytes, name);
    return { header, pixels: () => readNetpbm(bytes, header, name) };
  }
  const found = bytes.length === 0 ? "an empty file" : "not an image of a known format";
  throw new RandloraError("format", `${name}: ${found}`, "known are JPEG, PNG, WebP, GIF and PPM");
}

/** Bun has no way to hand over pixels but a file: a PNG that is not compressed is the cheapest. */
async function byBun(bytes: Uint8Array, name: string, kind: string): Promise<Image> {
  let png: Uint8Array;
  try {
    const image = new Bun.Image(bytes, { autoOrient: false, maxPixels: MOST_PIXELS });
    png = await image.png({ compressionLevel: 0 }).bytes();
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message.replace(/^Image: /, "") : String(thrown);
    throw broken(name, kind, reason);
  }
  return readPngPixels(readPngHeader(png, name), name);
}
