import { blank, type Image } from "../image.ts";
import { broken, type Header, truncated } from "./bytes.ts";

const KIND = "PPM or PGM";
const SPACE = new Set([0x20, 0x09, 0x0a, 0x0b, 0x0c, 0x0d]);
const HASH = 0x23;

/** A header, and where the pixels begin. */
export interface NetpbmHeader extends Header {
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
    if (at === start) throw at < bytes.length ? broken(name, KIND, "no size") : truncated(name, KIND);
    return value;
  };
  const [width, height, brightest] = [number(), number(), number()];
  if (brightest !== 255) throw broken(name, KIND, `its brightest value is ${brightest}, not 255`);
  return { width, height, orientation: 1, channels: bytes[1] === 0x36 ? 3 : 1, data: at + 1 };
}

/** The pixels behind a header that was read. @throws {RandloraError} `format` for a file that is cut short */
export function readNetpbm(bytes: Uint8Array, { width, height, channels, data }: NetpbmHeader, name: string): Image {
  const pixels = bytes.subarray(data, data + width * height * channels);
  if (pixels.length < width * height * channels) throw truncated(name, KIND);
  return channels === 3 ? { width, height, data: pixels } : fromGrey(pixels, width, height);
}

/** An image whose three colors are equal. @param grey height · width bytes */
export function fromGrey(grey: Uint8Array, width: number, height: number): Image {
  const image = blank(width, height);
  for (let i = 0; i < grey.length; i++) image.data.fill(grey[i] as number, i * 3, i * 3 + 3);
  return image;
}
