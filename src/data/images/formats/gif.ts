import { animated, broken, type Header, truncated, viewOf } from "./bytes.ts";

const KIND = "GIF";
const [IMAGE, EXTENSION, TRAILER, CONTROL] = [0x2c, 0x21, 0x3b, 0xf9];

/** A GIF's header, and where its flag of transparency stands, if it has one. */
export interface GifHeader extends Header {
  readonly transparency: number | undefined;
}

/**
 * Walks through the blocks of a GIF, which data sets may hold under another name.
 *
 * @throws {RandloraError} `format` for one that is cut short or animated, or whose image does not fill its frame
 */
export function readGifHeader(bytes: Uint8Array, name: string): GifHeader {
  if (bytes.length < 13) throw truncated(name, KIND);
  const view = viewOf(bytes);
  const [width, height] = [view.getUint16(6, true), view.getUint16(8, true)];
  let transparency: number | undefined;
  let images = 0;
  let at = 13 + tableBytes(bytes[10] ?? 0);
  for (;;) {
    const block = bytes[at];
    if (block === undefined) throw truncated(name, KIND);
    if (block === TRAILER) break;
    if (block === EXTENSION) {
      if (bytes[at + 1] === CONTROL && images === 0 && ((bytes[at + 3] ?? 0) & 1) === 1) transparency = at + 3;
      at = endOfBlocks(bytes, at + 2, name);
    } else if (block === IMAGE) {
      if (++images > 1) throw animated(name, KIND);
      if (at + 10 > bytes.length) throw truncated(name, KIND);
      const [left, top, across, down] = [1, 3, 5, 7].map((offset) => view.getUint16(at + offset, true));
      if (left !== 0 || top !== 0 || across !== width || down !== height) {
        throw broken(name, KIND, "its image does not fill its frame");
      }
      at = endOfBlocks(bytes, at + 11 + tableBytes(bytes[at + 9] ?? 0), name);
    } else throw broken(name, KIND, "an unknown block");
  }
  if (images === 0) throw broken(name, KIND, "no image in it");
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
    if (length === undefined) throw truncated(name, KIND);
    at += 1 + length;
    if (length === 0) return at;
  }
}
