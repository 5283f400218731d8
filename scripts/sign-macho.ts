/*
 * Signs a Mach-O executable ad hoc, as Apple's linker does: a hash of each page, and nobody's identity. Bun does it for
 * darwin-arm64; in what it compiles for darwin-x64 it leaves the runtime's signature, which no longer fits, and macOS may kill
 * such a process. Layouts: xnu's mach-o/loader.h and osfmk/kern/cs_blobs.h.
 */
import { createHash } from "node:crypto";

const PAGE = 4096;
const LC_SEGMENT_64 = 0x19;
const LC_CODE_SIGNATURE = 0x1d;
const CODE_DIRECTORY_BYTES = 88;
const SUPER_BLOB_BYTES = 20;
/** Ad hoc, and linker-signed: codesign replaces it without being forced to. */
const FLAGS = 0x20002;
const MAIN_BINARY = 1n;

/** Offsets of the load commands that a signature is entered in. */
function loadCommands(file: Buffer) {
  if (file.readUInt32LE(0) !== 0xfeedfacf) throw new Error("not a 64-bit Mach-O file");
  const segments = new Map<string, number>();
  let signature: number | undefined;
  for (let left = file.readUInt32LE(16), at = 32; left > 0; left--, at += file.readUInt32LE(at + 4)) {
    const kind = file.readUInt32LE(at);
    if (kind === LC_SEGMENT_64) segments.set(file.toString("latin1", at + 8, at + 24).replace(/\0+$/, ""), at);
    if (kind === LC_CODE_SIGNATURE) signature = at;
  }
  const [text, linkEdit] = [segments.get("__TEXT"), segments.get("__LINKEDIT")];
  if (text === undefined || linkEdit === undefined || signature === undefined) {
    throw new Error("a Mach-O file without a place for a signature");
  }
  return { text, linkEdit, signature };
}

/** The file with a signature of its own in the place of the one that it has. */
export function signAdHoc(file: Buffer, identifier: string): Buffer {
  const { text, linkEdit, signature } = loadCommands(file);
  const end = file.readUInt32LE(signature + 8);
  const pages = Math.ceil(end / PAGE);
  const name = Buffer.from(`${identifier}\0`);
  const hashesAt = CODE_DIRECTORY_BYTES + name.length;
  const length = SUPER_BLOB_BYTES + hashesAt + pages * 32;
  const size = Math.ceil(length / 8) * 8;

  const signed = Buffer.alloc(end + size);
  file.copy(signed, 0, 0, end);
  signed.writeUInt32LE(size, signature + 12);
  const linkEditBytes = BigInt(end + size) - file.readBigUInt64LE(linkEdit + 40);
  signed.writeBigUInt64LE(((linkEditBytes + 0x3fffn) / 0x4000n) * 0x4000n, linkEdit + 32);
  signed.writeBigUInt64LE(linkEditBytes, linkEdit + 48);

  const put = (at: number, ...words: readonly number[]) =>
    words.forEach((word, index) => signed.writeUInt32BE(word, at + 4 * index));
  // One blob of type 0, the code directory, behind the table of blobs.
  put(end, 0xfade0cc0, length, 1, 0, SUPER_BLOB_BYTES);
  const directory = end + SUPER_BLOB_BYTES;
  put(directory, 0xfade0c02, length - SUPER_BLOB_BYTES, 0x20400, FLAGS, hashesAt, CODE_DIRECTORY_BYTES, 0, pages, end);
  // Hashes of 32 bytes, SHA-256, no platform, pages of 2^12 bytes.
  signed.set([32, 2, 0, 12], directory + 36);
  signed.writeBigUInt64BE(file.readBigUInt64LE(text + 40), directory + 64);
  signed.writeBigUInt64BE(file.readBigUInt64LE(text + 48), directory + 72);
  signed.writeBigUInt64BE(MAIN_BINARY, directory + 80);
  name.copy(signed, directory + CODE_DIRECTORY_BYTES);
  for (let page = 0; page < pages; page++) {
    const bytes = signed.subarray(page * PAGE, Math.min((page + 1) * PAGE, end));
    createHash("sha256")
      .update(bytes)
      .digest()
      .copy(signed, directory + hashesAt + 32 * page);
  }
  return signed;
}
