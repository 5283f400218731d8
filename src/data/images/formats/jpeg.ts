import { exifOrientation, xmpOrientation } from "./exif.ts";
import { broken, hasText, type Header, truncated, viewOf } from "./bytes.ts";

const KIND = "JPEG";
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
    if (marker === undefined) throw truncated(name, KIND);
    at++;
    if (marker === EOI) break;
    if (marker === SOI || marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue;
    if (at + 2 > bytes.length) throw truncated(name, KIND);
    const length = view.getUint16(at);
    if (length < 2) throw broken(name, KIND, "a segment without a length");
    if (at + length > bytes.length) throw truncated(name, KIND);
    const segment = bytes.subarray(at + 2, at + length);
    if (isFrame(marker)) {
      if (segment.length < 6) throw broken(name, KIND, "a frame header without a size");
      size ??= { height: view.getUint16(at + 3), width: view.getUint16(at + 5) };
    } else if (marker === APP1) {
      // A second EXIF segment goes on where the first one ended: the directory that is read stands in the first.
      if (hasText(segment, 0, "Exif\0\0")) exif ??= segment;
      else if (hasText(segment, 0, XMP)) xmp = segment;
    }
    if (marker === SOS && ++scans > MOST_SCANS) throw broken(name, KIND, `more than ${MOST_SCANS} scans`);
    at = marker === SOS ? endOfScan(bytes, at + length) : at + length;
  }
  if (size === undefined) throw broken(name, KIND, "no frame header");
  const orientation = exif === undefined ? undefined : exifOrientation(exif);
  return { ...size, orientation: orientation ?? (xmp === undefined ? undefined : xmpOrientation(xmp)) ?? 1 };
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
