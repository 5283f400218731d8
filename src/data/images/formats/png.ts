import { crc32, inflateSync } from "node:zlib";
import { animated, broken, hasText, type Header, truncated, viewOf, orientationOf } from "./bytes.ts";
import { blank, type Image } from "../image.ts";

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
  return {
    ...header,
    parts,
    orientation: orientationOf(exif, xmp),
  };
}

/** Pixels that are stored together: all of them, or one of Adam7's passes. */
interface Pass {
  readonly left: number;
  readonly top: number;
  readonly across: number;
  readonly down: number;
}

const WHOLE: readonly Pass[] = [{ left: 0, top: 0, across: 1, down: 1 }];
const ADAM7: readonly Pass[] = [
  { left: 0, top: 0, across: 8, down: 8 },
  { left: 4, top: 0, across: 8, down: 8 },
  { left: 0, top: 4, across: 4, down: 8 },
  { left: 2, top: 0, across: 4, down: 4 },
  { left: 0, top: 2, across: 2, down: 4 },
  { left: 1, top: 0, across: 2, down: 2 },
  { left: 0, top: 1, across: 1, down: 2 },
];

/** Is this the one kind of PNG whose pixels Bun and Pillow read differently? */
export function isDeepGrey({ depth, color }: PngHeader): boolean {
  return depth === 16 && color === 0;
}

/**
 * The pixels of a PNG of 8 bits with color and alpha, the form in which Bun hands decoded images over (alpha is dropped,
 * as by Pillow's `convert("RGB")`), or of 16 bits grey, which Pillow cuts at 255.
 *
 * @throws {RandloraError} `format` for compressed data that are broken or end too early
 */
export function readPngPixels(header: PngHeader, name: string): Image {
  const { width, height, interlaced } = header;
  const grey = isDeepGrey(header);
  const pixelBytes = grey ? 2 : 4;
  const passes = (interlaced ? ADAM7 : WHOLE)
    .map((pass) => ({
      ...pass,
      columns: Math.ceil(Math.max(0, width - pass.left) / pass.across),
      rows: Math.ceil(Math.max(0, height - pass.top) / pass.down),
    }))
    .filter(({ columns, rows }) => columns > 0 && rows > 0);
  const size = passes.reduce((sum, { columns, rows }) => sum + rows * (1 + columns * pixelBytes), 0);
  const raw = inflate(header.parts, size, name);
  const image = blank(width, height);
  let at = 0;
  for (const { left, top, across, down, columns, rows } of passes) {
    const rowBytes = columns * pixelBytes;
    removeFilters(raw, at, rows, rowBytes, pixelBytes, name);
    for (let row = 0; row < rows; row++, at += 1 + rowBytes) {
      let from = at + 1;
      let to = ((top + row * down) * width + left) * 3;
      for (let column = 0; column < columns; column++, from += pixelBytes, to += 3 * across) {
        if (grey) image.data.fill(raw[from] === 0 ? (raw[from + 1] as number) : 255, to, to + 3);
        else {
          image.data[to] = raw[from] as number;
          image.data[to + 1] = raw[from + 1] as number;
          image.data[to + 2] = raw[from + 2] as number;
        }
      }
    }
  }
  return image;
}

function inflate(parts: readonly Uint8Array[], size: number, name: string): Uint8Array {
  let raw: Uint8Array;
  try {
    // Joined only where there is something to join: it is a copy of all pixels where nothing is compressed.
    const [only] = parts;
    const joined = parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
    raw = inflateSync(joined, { maxOutputLength: size });
  } catch {
    throw broken(name, KIND, "its compressed data are wrong");
  }
  if (raw.length < size) throw truncated(name, KIND);
  return raw;
}

/** Undoes the filter of each row, in place. */
function removeFilters(
  raw: Uint8Array,
  start: number,
  rows: number,
  rowBytes: number,
  pixelBytes: number,
  name: string,
): void {
  for (let row = 0; row < rows; row++) {
    const at = start + row * (1 + rowBytes) + 1;
    const above = at - 1 - rowBytes;
    const filter = raw[at - 1] as number;
    if (filter > 4) throw broken(name, KIND, "an unknown filter");
    if (filter === 0) continue;
    for (let i = 0; i < rowBytes; i++) {
      const a = i >= pixelBytes ? (raw[at + i - pixelBytes] as number) : 0;
      const b = row > 0 ? (raw[above + i] as number) : 0;
      const c = row > 0 && i >= pixelBytes ? (raw[above + i - pixelBytes] as number) : 0;
      raw[at + i] = (raw[at + i] as number) + predicted(filter, a, b, c);
    }
  }
}

/** What a filter expects of a byte with `a` to its left, `b` above and `c` to the left above. */
function predicted(filter: number, a: number, b: number, c: number): number {
  if (filter === 1) return a;
  if (filter === 2) return b;
  if (filter === 3) return (a + b) >> 1;
  const [toA, toB, toC] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  if (toA <= toB && toA <= toC) return a;
  return toB <= toC ? b : c;
}
