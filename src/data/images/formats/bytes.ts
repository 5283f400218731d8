import { RandloraError } from "../../../files/errors.ts";
import type { Orientation } from "../image.ts";

/** What the first bytes of an image's file say. */
export interface Header {
  readonly width: number;
  readonly height: number;
  /** As the file's EXIF or XMP data say; 1 where they say nothing. */
  readonly orientation: Orientation;
}

/** A view for numbers of more than one byte. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Do these characters (Latin-1) stand at `at`? */
export function hasText(bytes: Uint8Array, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
}

/** Bytes as characters of the same numbers. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

/** A file that ends too early. */
export function truncated(name: string, kind: string): RandloraError {
  return new RandloraError("format", `${name}: the ${kind} is cut short`, "fetch or write it again");
}

/** A file that is not as its format says. */
export function broken(name: string, kind: string, problem: string): RandloraError {
  return new RandloraError("format", `${name}: not a ${kind} that can be read: ${problem}`, "fetch or write it again");
}

/** A film. */
export function animated(name: string, kind: string): RandloraError {
  return new RandloraError("format", `${name}: an animated ${kind}`, "give one image of it");
}

const ORIENTATION = 0x0112;
const SHORT = 3;
const LONG = 4;

/** The orientation that a file's EXIF data say, else its XMP data. */
export function orientationOf(exif: Uint8Array | undefined, xmp: Uint8Array | undefined): Orientation {
  return (exif && exifOrientation(exif)) ?? (xmp && xmpOrientation(xmp)) ?? 1;
}

/**
 * The orientation that EXIF data give, as Pillow reads it: of the first image file directory; undefined where there is
 * none, or where the data are not as TIFF says.
 *
 * @param data with or without the `Exif` header that JPEG puts before it
 */
function exifOrientation(data: Uint8Array): Orientation | undefined {
  const tiff = hasText(data, 0, "Exif\0\0") ? data.subarray(6) : data;
  if (tiff.length < 14) return undefined;
  const little = hasText(tiff, 0, "II");
  if (!little && !hasText(tiff, 0, "MM")) return undefined;
  const view = viewOf(tiff);
  const directory = view.getUint32(4, little);
  if (directory + 2 > tiff.length) return undefined;
  const entries = view.getUint16(directory, little);
  for (let i = 0; i < entries; i++) {
    const at = directory + 2 + i * 12;
    if (at + 12 > tiff.length) return undefined;
    if (view.getUint16(at, little) !== ORIENTATION) continue;
    const type = view.getUint16(at + 2, little);
    if (type === SHORT) return asOrientation(view.getUint16(at + 8, little));
    return type === LONG ? asOrientation(view.getUint32(at + 8, little)) : undefined;
  }
  return undefined;
}

/** Pillow asks XMP data where EXIF says nothing. */
function xmpOrientation(data: Uint8Array): Orientation | undefined {
  const found = /tiff:Orientation(?:="|>)([0-9])/.exec(latin1(data));
  return found === null ? undefined : asOrientation(Number(found[1]));
}

/** Other numbers turn nothing. */
function asOrientation(value: number): Orientation {
  switch (value) {
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
      return value;
    default:
      return 1;
  }
}
