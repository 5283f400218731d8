// Bytes of WebAssembly as the standard's binary format has them; machine.test.ts runs what is made of them.

/** A whole number without sign, seven bits a byte. */
function leb(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value >>> 0; ; rest >>>= 7) {
    bytes.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest < 128) return bytes;
  }
}

/** The same with a sign. */
function signedLeb(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value | 0; ; rest >>= 7) {
    const done = rest >> 6 === 0 || rest >> 6 === -1;
    bytes.push(done ? rest & 127 : (rest & 127) | 128);
    if (done) return bytes;
  }
}

/** Instructions without operands, on numbers of 32 bits. */
const PLAIN = { add: 0x6a, sub: 0x6b, atLeast: 0x4f, below: 0x49, select: 0x1b } as const;

/** Vectors' instructions that take what is on the stack and nothing else. */
const SIMD = {
  swizzle: 14,
  lessWhole: 57,
  less: 67,
  atLeast: 70,
  and: 78,
  andNot: 79,
  or: 80,
  nearest: 106,
  shiftRightBytes: 109,
  subtractBytes: 113,
  narrow: 133,
  extendBytes: 135,
  extendBytesUnsigned: 137,
  extendHalves: 167,
  extendHalvesUnsigned: 169,
  shiftLeft: 171,
  shiftRight: 172,
  shiftRightUnsigned: 173,
  addWhole: 174,
  subtractWhole: 177,
  multiplyWhole: 181,
  larger: 184,
  dot: 186,
  root: 227,
  add: 228,
  subtract: 229,
  multiply: 230,
  divide: 231,
  least: 234,
  most: 235,
  truncate: 248,
  fromWhole: 250,
} as const;

/** Those that reach memory. */
const ACCESS = {
  load: 0,
  load8x8: 1,
  load16x4: 3,
  load16Splat: 8,
  load32Splat: 9,
  store: 11,
  load32: 92,
  load64: 93,
} as const;

/** One function, as it is written. */
export class WasmCode {
  #bytes: number[] = [];

  get(local: number): void {
    this.#bytes.push(0x20, ...leb(local));
  }

  set(local: number): void {
    this.#bytes.push(0x21, ...leb(local));
  }

  tee(local: number): void {
    this.#bytes.push(0x22, ...leb(local));
  }

  const(value: number): void {
    this.#bytes.push(0x41, ...signedLeb(value));
  }

  op(name: keyof typeof PLAIN): void {
    this.#bytes.push(PLAIN[name]);
  }

  /** 32 bits at an address. */
  load(offset: number): void {
    this.#bytes.push(0x28, 0, ...leb(offset));
  }

  simd(name: keyof typeof SIMD): void {
    this.#bytes.push(0xfd, ...leb(SIMD[name]));
  }

  access(name: keyof typeof ACCESS, offset: number): void {
    this.#bytes.push(0xfd, ...leb(ACCESS[name]), 0, ...leb(offset));
  }

  /** Stores the first lane: of 32 or of 64 bits. */
  storeLane(bits: 32 | 64, offset: number): void {
    this.#bytes.push(0xfd, bits === 32 ? 90 : 91, 0, ...leb(offset), 0);
  }

  /** A constant of 16 bytes. */
  vector(bytes: readonly number[]): void {
    this.#bytes.push(0xfd, 12, ...bytes);
  }

  /** Words of two vectors, by number: 0 to 3 of the first, 4 to 7 of the second. */
  shuffle(words: readonly [number, number, number, number]): void {
    this.#bytes.push(0xfd, 13, ...words.flatMap((word) => [0, 1, 2, 3].map((byte) => word * 4 + byte)));
  }

  /** Runs the body where what is on the stack is not 0. */
  when(body: () => void): void {
    this.#bytes.push(0x04, 0x40);
    body();
    this.#bytes.push(0x0b);
  }

  /** Runs the body, which leaves a number, until that is 0. */
  loop(body: () => void): void {
    this.#bytes.push(0x03, 0x40);
    body();
    this.#bytes.push(0x0d, 0, 0x0b);
  }

  /** The function: how many locals of 32 bits and how many vectors it has beside its argument, and what was written since. */
  finish(words: number, vectors: number): Uint8Array<ArrayBuffer> {
    const body = Uint8Array.of(2, ...leb(words), 0x7f, ...leb(vectors), 0x7b, ...this.#bytes, 0x0b);
    this.#bytes = [];
    return body;
  }
}

const section = (id: number, bytes: readonly number[]) => [id, ...leb(bytes.length), ...bytes];
const name = (value: string) => [...leb(value.length), ...Buffer.from(value)];

/** A module of functions of one argument, exported by number, on the memory `env.memory`, which is shared. */
export function wasmModule(bodies: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const before = [
    [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    section(1, [1, 0x60, 1, 0x7f, 0]),
    section(2, [1, ...name("env"), ...name("memory"), 2, 3, 0, ...leb(2 ** 16)]),
    section(3, [...leb(bodies.length), ...bodies.map(() => 0)]),
    section(7, [...leb(bodies.length), ...bodies.flatMap((_, at) => [...name(String(at)), 0, ...leb(at)])]),
  ].flat();
  const count = leb(bodies.length);
  const sizes = bodies.map(({ length }) => leb(length));
  const length = bodies.reduce((sum, body, at) => sum + body.length + (sizes[at]?.length ?? 0), count.length);
  const parts = [Uint8Array.from([...before, 10, ...leb(length), ...count])];
  bodies.forEach((body, at) => parts.push(Uint8Array.from(sizes[at] ?? []), Uint8Array.from(body)));
  return Buffer.concat(parts) as Uint8Array<ArrayBuffer>;
}
