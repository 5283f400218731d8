import { RandloraError } from "../errors.ts";
import { oneLine, quote } from "../failure.ts";
import { type OpenedFile, RangedFile } from "../ranged-file.ts";
import { type Header, LENGTH_BYTES, parseHeader, parseHeaderLength, type TensorInfo } from "./header.ts";

/** One open safetensors file. */
export class SafetensorsFile extends RangedFile {
  readonly header: Header;
  readonly #byName: ReadonlyMap<string, TensorInfo>;

  private constructor(file: OpenedFile, header: Header) {
    super(file);
    this.header = header;
    this.#byName = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
  }

  /** Opens `path` and checks its whole header. Throws `RandloraError` "file" or "format". */
  static async open(path: string): Promise<SafetensorsFile> {
    return await RangedFile.opening(path, async (file) => {
      const { size } = file;
      const first = new Uint8Array(Math.min(LENGTH_BYTES, size));
      await file.read(first, 0);
      const json = new Uint8Array(parseHeaderLength(first, path, size));
      await file.read(json, LENGTH_BYTES);
      return new SafetensorsFile(file, parseHeader(json, path, size));
    });
  }

  /** The tensor called `name`, or `undefined`. */
  find(name: string): TensorInfo | undefined {
    return this.#byName.get(name);
  }

  /** The tensor called `name`. Throws `RandloraError` "format" when there is none. */
  get(name: string): TensorInfo {
    const tensor = this.find(name);
    if (tensor === undefined) throw new RandloraError("format", `${oneLine(this.path)}: no tensor ${quote(name)}`);
    return tensor;
  }

  /**
   * Fills all of `out` with the bytes of `tensor` that start `start` bytes after its first. Throws `RangeError` when
   * they are not all inside the tensor, and `RandloraError` "file" when the file has become shorter.
   */
  async read(tensor: TensorInfo, out: Uint8Array, start = 0): Promise<void> {
    if (this.#byName.get(tensor.name) !== tensor) throw new RangeError(`${tensor.name} is not of ${this.path}`);
    await this.readWithin(tensor, out, start);
  }

  /** All bytes of `tensor` in a new array: for small ones. Throws as {@link read}. */
  async readAll(tensor: TensorInfo): Promise<Uint8Array<ArrayBuffer>> {
    const out = new Uint8Array(tensor.bytes);
    await this.read(tensor, out);
    return out;
  }
}
