import type { Orientation } from "../image.ts";
import { hasText, latin1, viewOf } from "./bytes.ts";

const ORIENTATION = 0x0112;
const SHORT = 3;
const LONG = 4;

/**
 * The orientation that EXIF data give, as Pillow reads it: of the first image file directory; undefined where there is
 * none, or where the data are not as TIFF says.
 *
 * @param data with or without the `Exif` header that JPEG puts before it
 */
export function exifOrientation(data: Uint8Array): Orientation | undefined {
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

/** The orientation that XMP data give; Pillow asks them where EXIF says nothing. */
export function xmpOrientation(data: Uint8Array): Orientation | undefined {
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
