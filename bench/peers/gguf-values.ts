/** GGUF's numbers of value types. */
const UINT32 = 4;
const INT32 = 5;
const FLOAT32 = 6;
const STRING = 8;
const ARRAY = 9;

/** Writes numbers and texts as GGUF has them, little-endian; each call returns the writer. */
export class GgufValues {
  readonly #sink = new Bun.ArrayBufferSink();
  readonly #text = new TextEncoder();

  constructor() {
    this.#sink.start({ asUint8Array: true });
  }

  bytes(bytes: Uint8Array<ArrayBuffer>): this {
    this.#sink.write(bytes);
    return this;
  }

  u32(value: number): this {
    return this.bytes(new Uint8Array(Uint32Array.of(value).buffer));
  }

  u64(value: number): this {
    return this.bytes(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  /** A text without the type before it: a key, or an element. */
  string(value: string): this {
    const bytes = this.#text.encode(value);
    return this.u64(bytes.length).bytes(bytes);
  }

  text(value: string): this {
    return this.u32(STRING).string(value);
  }

  integer(value: number): this {
    return this.u32(UINT32).u32(value);
  }

  real(value: number): this {
    return this.u32(FLOAT32).bytes(new Uint8Array(Float32Array.of(value).buffer));
  }

  texts(values: readonly string[]): this {
    this.u32(ARRAY).u32(STRING).u64(values.length);
    for (const value of values) this.string(value);
    return this;
  }

  signedIntegers(values: readonly number[]): this {
    return this.u32(ARRAY)
      .u32(INT32)
      .u64(values.length)
      .bytes(new Uint8Array(Int32Array.from(values).buffer));
  }

  /** Everything so far; the writer is empty afterwards. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = this.#sink.end();
    return bytes instanceof Uint8Array ? bytes.slice() : new Uint8Array(bytes);
  }
}
