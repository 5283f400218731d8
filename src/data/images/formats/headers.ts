import { animated, broken, hasText, type Header, orientationOf, truncated, viewOf } from "./bytes.ts";
import { blank, type Image } from "../image.ts";

const XMP = "http://ns.adobe.com/xap/1.0/\0";
const [SOI, EOI, SOS, APP1] = [0xd8, 0xd9, 0xda, 0xe1];
/** Each takes the time of all pixels, however few bytes it has; encoders write some ten. */
const MOST_SCANS = 100;

/**
 * Walks through the markers of a JPEG to its end: the decoder itself fills what is missing of a file with grey, and Pillow
 * refuses it.
 *
 * @throws {RandloraError} `format` for a file that is cut short or broken, or has more than {@link MOST_SCANS} scans
 */
export function readJpegHeader(bytes: Uint8Array, name: string): Header {
  const view = viewOf(bytes);
  let size: { width: number; height: number } | undefined;
  let exif: Uint8Array | undefined;
  let xmp: Uint8Array | undefined;
  let scans = 0;
  let at = 2;
  for (;;) {
    at = markerAt(bytes, at);
    const marker = bytes[at];
    if (marker === undefined) throw truncated(name, "JPEG");
    at++;
    if (marker === EOI) break;
    if (marker === SOI || marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue;
    if (at + 2 > bytes.length) throw truncated(name, "JPEG");
    const length = view.getUint16(at);
    if (length < 2) throw broken(name, "JPEG", "a segment without a length");
    if (at + length > bytes.length) throw truncated(name, "JPEG");
    const segment = bytes.subarray(at + 2, at + length);
    if (isFrame(marker)) {
      if (segment.length < 6) throw broken(name, "JPEG", "a frame header without a size");
      size ??= { height: view.getUint16(at + 3), width: view.getUint16(at + 5) };
    } else if (marker === APP1) {
      // A second EXIF segment goes on where the first one ended: the directory that is read stands in the first.
      if (hasText(segment, 0, "Exif\0\0")) exif ??= segment;
      else if (hasText(segment, 0, XMP)) xmp = segment;
    }
    if (marker === SOS && ++scans > MOST_SCANS) throw broken(name, "JPEG", `more than ${MOST_SCANS} scans`);
    at = marker === SOS ? endOfScan(bytes, at + length) : at + length;
  }
  if (size === undefined) throw broken(name, "JPEG", "no frame header");
  return { ...size, orientation: orientationOf(exif, xmp) };
}

/** Where the code of the next marker stands: behind 0xff, of which there may be several. */
function markerAt(bytes: Uint8Array, from: number): number {
  let at = bytes.indexOf(0xff, from);
  if (at < 0) return bytes.length;
  while (bytes[at] === 0xff) at++;
  return at;
}

/** Where the 0xff of the marker behind a scan's coded data stands: one that neither stands for a byte 0xff nor restarts. */
function endOfScan(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(0xff, from); at >= 0; at = bytes.indexOf(0xff, at)) {
    const code = bytes[at + 1];
    if (code === undefined) break;
    if (code === 0xff) at += 1;
    else if (code === 0 || (code >= 0xd0 && code <= 0xd7)) at += 2;
    else return at;
  }
  return bytes.length;
}

/** Start of a frame: 0xc0 to 0xcf, of which three mean something else. */
function isFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

const ANIMATION = 0x02;

/**
 * Reads the chunks of a WebP file (RFC 9649).
 *
 * @throws {RandloraError} `format` for a file that is cut short, broken or animated
 */
export function readWebpHeader(bytes: Uint8Array, name: string): Header {
  const view = viewOf(bytes);
  if (bytes.length < 12) throw truncated(name, "WebP");
  const end = 8 + view.getUint32(4, true);
  if (end > bytes.length) throw truncated(name, "WebP");
  let size: { width: number; height: number } | undefined;
  let exif: Uint8Array | undefined;
  let xmp: Uint8Array | undefined;
  for (let at = 12; at + 8 <= end;) {
    const length = view.getUint32(at + 4, true);
    const data = at + 8;
    if (data + length > end) throw truncated(name, "WebP");
    if (hasText(bytes, at, "VP8X") && length >= 10) {
      if (((bytes[data] ?? 0) & ANIMATION) !== 0) throw animated(name, "WebP");
      size = { width: 1 + uint24(bytes, data + 4), height: 1 + uint24(bytes, data + 7) };
    } else if (hasText(bytes, at, "VP8 ") && length >= 10) {
      size ??= { width: view.getUint16(data + 6, true) & 0x3fff, height: view.getUint16(data + 8, true) & 0x3fff };
    } else if (hasText(bytes, at, "VP8L") && length >= 5) {
      const packed = view.getUint32(data + 1, true);
      size ??= { width: 1 + (packed & 0x3fff), height: 1 + ((packed >>> 14) & 0x3fff) };
    } else if (hasText(bytes, at, "EXIF")) exif = bytes.subarray(data, data + length);
    else if (hasText(bytes, at, "XMP ")) xmp = bytes.subarray(data, data + length);
    at = data + length + (length % 2);
  }
  if (size === undefined) throw broken(name, "WebP", "no image in it");
  return { ...size, orientation: orientationOf(exif, xmp) };
}

function uint24(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16);
}

const [IMAGE, EXTENSION, TRAILER, CONTROL] = [0x2c, 0x21, 0x3b, 0xf9];

/** A GIF's header, and where its flag of transparency stands, if it has one. */
interface GifHeader extends Header {
  readonly transparency: number | undefined;
}

/**
 * Walks through the blocks of a GIF, which data sets may hold under another name.
 *
 * @throws {RandloraError} `format` for one that is cut short or animated, or whose image does not fill its frame
 */
export function readGifHeader(bytes: Uint8Array, name: string): GifHeader {
  if (bytes.length < 13) throw truncated(name, "GIF");
  const view = viewOf(bytes);
  const [width, height] = [view.getUint16(6, true), view.getUint16(8, true)];
  let transparency: number | undefined;
  let images = 0;
  let at = 13 + tableBytes(bytes[10] ?? 0);
  for (;;) {
    const block = bytes[at];
    if (block === undefined) throw truncated(name, "GIF");
    if (block === TRAILER) break;
    if (block === EXTENSION) {
      if (bytes[at + 1] === CONTROL && images === 0 && ((bytes[at + 3] ?? 0) & 1) === 1) transparency = at + 3;
      at = endOfBlocks(bytes, at + 2, name);
    } else if (block === IMAGE) {
      if (++images > 1) throw animated(name, "GIF");
      if (at + 10 > bytes.length) throw truncated(name, "GIF");
      const [left, top, across, down] = [1, 3, 5, 7].map((offset) => view.getUint16(at + offset, true));
      if (left !== 0 || top !== 0 || across !== width || down !== height) {
        throw broken(name, "GIF", "its image does not fill its frame");
      }
      at = endOfBlocks(bytes, at + 11 + tableBytes(bytes[at + 9] ?? 0), name);
    } else throw broken(name, "GIF", "an unknown block");
  }
  if (images === 0) throw broken(name, "GIF", "no image in it");
  return { width, height, orientation: 1, transparency };
}

/** The decoder makes transparent pixels black, Pillow keeps their color: without the flag they are like others. */
export function withoutTransparency(bytes: Uint8Array, { transparency }: GifHeader): Uint8Array {
  if (transparency === undefined) return bytes;
  const copy = bytes.slice();
  copy[transparency] = (copy[transparency] ?? 0) & ~1;
  return copy;
}

/** Bytes of the color table that a packed field announces. */
function tableBytes(packed: number): number {
  return (packed & 0x80) === 0 ? 0 : 3 * 2 ** ((packed & 7) + 1);
}

/** Behind a chain of data blocks, each with its length before it. */
function endOfBlocks(bytes: Uint8Array, from: number, name: string): number {
  let at = from;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) throw truncated(name, "GIF");
    at += 1 + length;
    if (length === 0) return at;
  }
}

const SPACE = new Set([0x20, 0x09, 0x0a, 0x0b, 0x0c, 0x0d]);
const HASH = 0x23;

/** A header, and where the pixels begin. */
interface NetpbmHeader extends Header {
  readonly channels: 1 | 3;
  readonly data: number;
}

/**
 * Reads the header of a binary PPM (P6) or PGM (P5) of 8 bits, GTSRB's format.
 *
 * @throws {RandloraError} `format` for one that is cut short, or whose brightest value is not 255
 */
export function readNetpbmHeader(bytes: Uint8Array, name: string): NetpbmHeader {
  let at = 2;
  const number = (): number => {
    for (;;) {
      if (bytes[at] === HASH) while (at < bytes.length && bytes[at] !== 0x0a) at++;
      else if (SPACE.has(bytes[at] ?? 0)) at++;
      else break;
    }
    let value = 0;
    const start = at;
    for (let digit = bytes[at]; digit !== undefined && digit >= 0x30 && digit <= 0x39; digit = bytes[++at]) {
      value = Math.min(value * 10 + digit - 0x30, 2 ** 31);
    }
    if (at === start) throw at < bytes.length ? broken(name, "PPM or PGM", "no size") : truncated(name, "PPM or PGM");
    return value;
  };
  const [width, height, brightest] = [number(), number(), number()];
  if (brightest !== 255) throw broken(name, "PPM or PGM", `its brightest value is ${brightest}, not 255`);
  return { width, height, orientation: 1, channels: bytes[1] === 0x36 ? 3 : 1, data: at + 1 };
}

/** The pixels behind a header that was read. @throws {RandloraError} `format` for a file that is cut short */
export function readNetpbm(bytes: Uint8Array, { width, height, channels, data }: NetpbmHeader, name: string): Image {
  const pixels = bytes.subarray(data, data + width * height * channels);
  if (pixels.length < width * height * channels) throw truncated(name, "PPM or PGM");
  return channels === 3 ? { width, height, data: pixels } : fromGrey(pixels, width, height);
}

/** An image whose three colors are equal. @param grey height · width bytes */
function fromGrey(grey: Uint8Array, width: number, height: number): Image {
  const image = blank(width, height);
  for (let i = 0; i < grey.length; i++) image.data.fill(grey[i] as number, i * 3, i * 3 + 3);
  return image;
}
