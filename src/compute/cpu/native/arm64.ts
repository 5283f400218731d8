// The instructions of aarch64 that kernels use, as Arm's manual names them; the destination comes first. Vectors are v0 to v31 by their
// number, general registers x0 to x30; 31 is the stack pointer, or zero. arm64.slow.test.ts holds each to GNU as.
import { Code, type Label } from "./code.ts";

/** [base + offset]. */
export interface Arm64Memory {
  readonly base: number;
  readonly offset: number;
}

export class Arm64 extends Code {
  // f32, four lanes
  fadd = (d: number, n: number, m: number): void => this.#three(0x4e20d400, d, n, m);
  fsub = (d: number, n: number, m: number): void => this.#three(0x4ea0d400, d, n, m);
  fmul = (d: number, n: number, m: number): void => this.#three(0x6e20dc00, d, n, m);
  fmax = (d: number, n: number, m: number): void => this.#three(0x4e20f400, d, n, m);
  fmin = (d: number, n: number, m: number): void => this.#three(0x4ea0f400, d, n, m);
  /** The one that is a number, where the other is none. */
  fmaxnm = (d: number, n: number, m: number): void => this.#three(0x4e20c400, d, n, m);
  /** All bits where n is greater than m. */
  fcmgt = (d: number, n: number, m: number): void => this.#three(0x6ea0e400, d, n, m);
  fdiv = (d: number, n: number, m: number): void => this.#three(0x6e20fc00, d, n, m);
  fsqrt = (d: number, n: number): void => this.#two(0x6ea1f800, d, n);
  /** d += n · m, rounded once. */
  fmla = (d: number, n: number, m: number): void => this.#three(0x4e20cc00, d, n, m);

  // whole numbers
  add4s = (d: number, n: number, m: number): void => this.#three(0x4ea08400, d, n, m);
  addp = (d: number, n: number, m: number): void => this.#three(0x4ea0bc00, d, n, m);
  sub4s = (d: number, n: number, m: number): void => this.#three(0x6ea08400, d, n, m);
  sub16b = (d: number, n: number, m: number): void => this.#three(0x6e208400, d, n, m);
  smax = (d: number, n: number, m: number): void => this.#three(0x4ea06400, d, n, m);
  and = (d: number, n: number, m: number): void => this.#three(0x4e201c00, d, n, m);
  orr = (d: number, n: number, m: number): void => this.#three(0x4ea01c00, d, n, m);
  /** d = n, without the bits that are set in m. */
  bic = (d: number, n: number, m: number): void => this.#three(0x4e601c00, d, n, m);
  eor = (d: number, n: number, m: number): void => this.#three(0x6e201c00, d, n, m);
  /** 16 bytes of n and m, one behind the other, from this one on. */
  ext = (d: number, n: number, m: number, byte: number): void => this.#three(0x6e000000 | (byte << 11), d, n, m);
  /** The products of the lower four of 16 bits, and of the upper four. */
  smull = (d: number, n: number, m: number): void => this.#three(0x0e60c000, d, n, m);
  smull2 = (d: number, n: number, m: number): void => this.#three(0x4e60c000, d, n, m);
  /** Within 32 bits. */
  shl = (d: number, n: number, bits: number): void => this.#two(0x4f205400 | (bits << 16), d, n);
  sshr = (d: number, n: number, bits: number): void => this.#two(0x4f000400 | ((64 - bits) << 16), d, n);
  /** By 16 right within 32 bits, by 4 within bytes and within 32 bits. */
  ushr16 = (d: number, n: number): void => this.#two(0x6f300400, d, n);
  ushr4of16b = (d: number, n: number): void => this.#two(0x6f0c0400, d, n);
  ushr4of4s = (d: number, n: number): void => this.#two(0x6f3c0400, d, n);

  // from format to format
  /** The lower four of 16 bits, shifted into the upper halves of 32. */
  shll = (d: number, n: number): void => this.#two(0x2e613800, d, n);
  fcvtl = (d: number, n: number): void => this.#two(0x0e217800, d, n);
  scvtf = (d: number, n: number): void => this.#two(0x4e21d800, d, n);
  fcvtns = (d: number, n: number): void => this.#two(0x4e21a800, d, n);
  /** 16 bits of each lane, the nearest that there are. */
  sqxtn = (d: number, n: number): void => this.#two(0x0e614800, d, n);
  sxtl8h = (d: number, n: number): void => this.#two(0x0f08a400, d, n);
  sxtl4s = (d: number, n: number): void => this.#two(0x0f10a400, d, n);
  uxtl8h = (d: number, n: number): void => this.#two(0x2f08a400, d, n);
  uxtl4s = (d: number, n: number): void => this.#two(0x2f10a400, d, n);

  // lanes
  trn1 = (d: number, n: number, m: number): void => this.#three(0x4e802800, d, n, m);
  trn2 = (d: number, n: number, m: number): void => this.#three(0x4e806800, d, n, m);
  trn1of2d = (d: number, n: number, m: number): void => this.#three(0x4ec02800, d, n, m);
  trn2of2d = (d: number, n: number, m: number): void => this.#three(0x4ec06800, d, n, m);
  /** The first lane, to all. */
  dup = (d: number, n: number): void => this.#two(0x4e040400, d, n);

  // loads and stores: of 128, 64, 32 and 16 bits of a vector, of 32 and 64 bits of a general register
  ldrq = (t: number, from: Arm64Memory): void => this.#memory(0x3dc00000, 16, t, from);
  ldrd = (t: number, from: Arm64Memory): void => this.#memory(0xfd400000, 8, t, from);
  ldrs = (t: number, from: Arm64Memory): void => this.#memory(0xbd400000, 4, t, from);
  /** From a place in the code itself. */
  ldrsNear = (t: number, near: Label): void => {
    const place = this.length;
    this.word(0);
    this.jump(near, (target) => this.patch(place, 0x1c000000 | (((target - place) / 4) << 5) | t));
  };
  ldrh = (t: number, from: Arm64Memory): void => this.#memory(0x7d400000, 2, t, from);
  strq = (t: number, to: Arm64Memory): void => this.#memory(0x3d800000, 16, t, to);
  strd = (t: number, to: Arm64Memory): void => this.#memory(0xfd000000, 8, t, to);
  strs = (t: number, to: Arm64Memory): void => this.#memory(0xbd000000, 4, t, to);
  ldrw = (t: number, from: Arm64Memory): void => this.#memory(0xb9400000, 4, t, from);
  ldrx = (t: number, from: Arm64Memory): void => this.#memory(0xf9400000, 8, t, from);
  strx = (t: number, to: Arm64Memory): void => this.#memory(0xf9000000, 8, t, to);
  /** Soon to be read, into the second cache. */
  prfm = (from: Arm64Memory): void => this.#memory(0xf9800000, 8, 2, from);

  // general registers
  add = (d: number, n: number, m: number): void => this.#three(0x8b000000, d, n, m);
  /** With the lower 32 bits of m. */
  addw = (d: number, n: number, m: number): void => this.#three(0x8b204000, d, n, m);
  mov = (d: number, m: number): void => this.#three(0xaa000000, d, 31, m);
  movz = (d: number, value: number): void => this.#put((0xd2800000 | (value << 5) | d) >>> 0);
  addi = (d: number, n: number, value: number): void => this.#immediate(0x91000000, d, n, value);
  subi = (d: number, n: number, value: number): void => this.#immediate(0xd1000000, d, n, value);
  /** d = n − value, and flags. */
  subs = (d: number, n: number, value: number): void => this.#immediate(0xf1000000, d, n, value);
  blr = (n: number): void => this.#two(0xd63f0000, 0, n);
  ret = (): void => this.#put(0xd65f03c0);
  /** Jumps where a subtraction went below zero, and where it did not. */
  blo = (label: Label): void => this.#jump(3, label);
  bhs = (label: Label): void => this.#jump(2, label);

  #three(opcode: number, d: number, n: number, m: number): void {
    this.#put((opcode | (m << 16) | (n << 5) | d) >>> 0);
  }

  #two(opcode: number, d: number, n: number): void {
    this.#put((opcode | (n << 5) | d) >>> 0);
  }

  /** The offset is counted in units of what is moved. */
  #memory(opcode: number, unit: number, t: number, { base, offset }: Arm64Memory): void {
    const units = offset / unit;
    if (!Number.isInteger(units) || units < 0 || units > 4095) throw new Error(`no offset of ${offset} bytes`);
    this.#put((opcode | (units << 10) | (base << 5) | t) >>> 0);
  }

  /** Up to 4095, or a multiple of 4096. */
  #immediate(opcode: number, d: number, n: number, value: number): void {
    const high = value > 4095;
    const units = high ? value / 4096 : value;
    if (!Number.isInteger(units) || units < 0 || units > 4095) throw new Error(`no number of ${value}`);
    this.#put((opcode | (high ? 1 << 22 : 0) | (units << 10) | (n << 5) | d) >>> 0);
  }

  #jump(condition: number, label: Label): void {
    const place = this.length;
    this.word(0);
    this.jump(label, (target) => this.patch(place, 0x54000000 | ((((target - place) / 4) & 0x7ffff) << 5) | condition));
  }

  #put(instruction: number): void {
    this.word(instruction);
  }
}
