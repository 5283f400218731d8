import { RandloraError } from "../errors.ts";
import { oneLine, quote } from "../failure.ts";
import { type OpenedFile, RangedFile } from "../ranged-file.ts";
import { GGUF_TYPES } from "./format.ts";
import { type GgufHeader, type GgufTensorInfo, parseGgufHeader, ShortHeader } from "./header.ts";

/** What is read of a file first, in bytes: the header of a small model. */
const FIRST_BYTES = 4 << 20;
/** The largest header that is read: 4 million tokens of a vocabulary with their merges. */
const MAX_HEADER_BYTES = 256 << 20;

/** One open GGUF file. */
export class GgufFile extends RangedFile {
  readonly header: GgufHeader;

  private constructor(file: OpenedFile, header: GgufHeader) {
    super(file);
    this.header = header;
  }

  /** Opens `path` and checks its whole header. Throws `RandloraError` "file" or "format". */
  static async open(path: string): Promise<GgufFile> {
    return await RangedFile.opening(path, async (file) => new GgufFile(file, await readHeader(file)));
  }

  /**
   * Fills all of `out` with the bytes of `tensor` from its byte `start` on. Throws `RangeError`, `RandloraError` "file", and "format"
   * for a scale of MXFP4 that is NaN.
   */
  async read(tensor: GgufTensorInfo, out: Uint8Array, start = 0): Promise<void> {
    await this.readWithin(tensor, out, start);
    if (tensor.type !== "MXFP4") return;
    const block = GGUF_TYPES.MXFP4.bytes;
    for (let at = (block - (start % block)) % block; at < out.length; at += block) {
      if (out[at] !== 255) continue;
      const cause = `${oneLine(this.path)}: ${quote(tensor.name)} has a scale that is not a number (255)`;
      throw new RandloraError("format", cause, "the file is damaged: download or copy it again");
    }
  }
}

/** A file says nowhere how long its header is: as much is read as it turns out to need. */
async function readHeader({ path, size, read }: OpenedFile): Promise<GgufHeader> {
  for (let length = FIRST_BYTES; ; length *= 2) {
    const bytes = new Uint8Array(Math.min(length, size, MAX_HEADER_BYTES));
    await read(bytes, 0);
    try {
      return parseGgufHeader(bytes, path, size);
    } catch (thrown) {
      if (!(thrown instanceof ShortHeader)) throw thrown;
      if (bytes.length < Math.min(size, MAX_HEADER_BYTES)) continue;
      const cause = bytes.length === size ? "the file is incomplete" : "its header is longer than 256 MiB";
      throw new RandloraError("format", `${oneLine(path)}: ${cause}`, "download or copy it again");
    }
  }
}
