import { animated, broken, hasText, type Header, truncated, viewOf } from "./bytes.ts";
import { exifOrientation, xmpOrientation } from "./exif.ts";

const KIND = "WebP";
const ANIMATION = 0x02;

/**
 * Reads the chunks of a WebP file (RFC 9649).
 *
 * @throws {RandloraError} `format` for a file that is cut short, broken or animated
 */
export function readWebpHeader(bytes: Uint8Array, name: string): Header {
  const view = viewOf(bytes);
  if (bytes.length < 12) throw truncated(name, KIND);
  const end = 8 + view.getUint32(4, true);
  if (end > bytes.length) throw truncated(name, KIND);
  let size: { width: number; height: number } | undefined;
  let exif: Uint8Array | undefined;
  let xmp: Uint8Array | undefined;
  for (let at = 12; at + 8 <= end;) {
    const length = view.getUint32(at + 4, true);
    const data = at + 8;
    if (data + length > end) throw truncated(name, KIND);
    if (hasText(bytes, at, "VP8X") && length >= 10) {
      if (((bytes[data] ?? 0) & ANIMATION) !== 0) throw animated(name, KIND);
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
  if (size === undefined) throw broken(name, KIND, "no image in it");
  const orientation = exif === undefined ? undefined : exifOrientation(exif);
  return { ...size, orientation: orientation ?? (xmp === undefined ? undefined : xmpOrientation(xmp)) ?? 1 };
}

function uint24(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16);
}
