import { crc32 } from "node:zlib";
import { animated, broken, hasText, type Header, truncated, viewOf } from "./bytes.ts";
import { exifOrientation, xmpOrientation } from "./exif.ts";

const KIND = "PNG";
const XMP = "XML:com.adobe.xmp\0\0\0\0\0";

/** What a PNG's header says, and the parts of its compressed pixels. */
export interface PngHeader extends Header {
  readonly depth: number;
  /** 0 grey, 2 color, 3 palette, 4 grey and alpha, 6 color and alpha. */
  readonly color: number;
  readonly interlaced: boolean;
  readonly parts: readonly Uint8Array[];
}

/**
 * Walks through all chunks of a PNG (ISO/IEC 15948), and checks those that pixels depend on.
 *
 * @throws {RandloraError} `format` for a file that is cut short, broken or animated
 */
export function readPngHeader(bytes: Uint8Array, name: string): PngHeader {
  const view = viewOf(bytes);
  let header: Omit<PngHeader, "orientation" | "parts"> | undefined;
  const parts: Uint8Array[] = [];
  let exif: Uint8Array | undefined;
  let xmp: Uint8Array | undefined;
  let at = 8;
  for (;;) {
    if (at + 12 > bytes.length) throw truncated(name, KIND);
    const length = view.getUint32(at);
    const [start, end] = [at + 8, at + 8 + length];
    if (end + 4 > bytes.length) throw truncated(name, KIND);
    const data = bytes.subarray(start, end);
    const is = (type: string) => hasText(bytes, at + 4, type);
    const matters = is("IHDR") || is("PLTE") || is("IDAT");
    if (matters && crc32(bytes.subarray(at + 4, end)) !== view.getUint32(end)) {
      throw broken(name, KIND, "a checksum is wrong");
    }
    if (is("IHDR") && length >= 13) {
      const [depth = 0, color = 0, , , interlace = 0] = bytes.subarray(start + 8, start + 13);
      const size = { width: view.getUint32(start), height: view.getUint32(start + 4) };
      header ??= { ...size, depth, color, interlaced: interlace === 1 };
    } else if (is("IDAT")) parts.push(data);
    else if (is("acTL")) throw animated(name, KIND);
    else if (is("eXIf")) exif = data;
    else if (is("iTXt") && hasText(data, 0, XMP)) xmp = data;
    if (is("IEND")) break;
    at = end + 4;
  }
  if (header === undefined) throw broken(name, KIND, "no header");
  const orientation = exif === undefined ? undefined : exifOrientation(exif);
  return {
    ...header,
    parts,
    orientation: orientation ?? (xmp === undefined ? undefined : xmpOrientation(xmp)) ?? 1,
  };
}
