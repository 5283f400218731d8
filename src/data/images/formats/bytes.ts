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
