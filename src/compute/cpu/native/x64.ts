// The instructions of x86-64 that kernels use, as the manual names them; the destination comes first. x64.slow.test.ts holds each to
// GNU as.
import type { Label } from "./code.ts";
import {
  type General,
  MAP_0F,
  MAP_0F38,
  MAP_0F3A,
  type Memory,
  type Near,
  type Opcode,
  type Prefix,
  type Vector,
  X64Code,
} from "./x64-encoding.ts";

const f0 = (prefix: Prefix, opcode: number, rest: Partial<Opcode> = {}): Opcode => ({
  prefix,
  map: MAP_0F,
  opcode,
  ...rest,
});
const f38 = (opcode: number, rest: Partial<Opcode> = {}): Opcode => ({ prefix: 0x66, map: MAP_0F38, opcode, ...rest });
const f3a = (opcode: number, rest: Partial<Opcode> = {}): Opcode => ({ prefix: 0x66, map: MAP_0F3A, opcode, ...rest });

const VADDPS = f0(0, 0x58);
const VMULPS = f0(0, 0x59);
const VSUBPS = f0(0, 0x5c);
const VMAXPS = f0(0, 0x5f);
const VANDPS = f0(0, 0x54);
const VANDNPS = f0(0, 0x55);
const VORPS = f0(0, 0x56);
const VXORPS = f0(0, 0x57);
const VMINPS = f0(0, 0x5d);
const VCMPPS = f0(0, 0xc2);
const VPMOVM2D: Opcode = { prefix: 0xf3, map: MAP_0F38, opcode: 0x38, evex: true };
/** A comparison: less than, ordered, not signaling. */
const LESS = 0x11;
const VFMADD231PS = f38(0xb8);
const VPADDD = f0(0x66, 0xfe);
const VPSUBB = f0(0x66, 0xf8);
const VPMADDWD = f0(0x66, 0xf5);
const VPDPWSSD = f38(0x52, { evex: true });
const VDIVPS = f0(0, 0x5e);
const VPMAXSD = f38(0x3d);
const VPSUBD = f0(0x66, 0xfa);
const VPACKSSDW = f0(0x66, 0x6b);
const VCVTPS2DQ = f0(0x66, 0x5b);
const VPMOVZXBD = f38(0x31, { part: 4 });
const VPMOVSDW: Opcode = { prefix: 0xf3, map: MAP_0F38, opcode: 0x23, evex: true, part: 2 };
const VEXTRACTI128 = f3a(0x39, { reads: 16 });
const VPSLLD = f0(0x66, 0x72);
const VPSRLD = f0(0x66, 0x72);
const VPSRAD = f0(0x66, 0x72);
const VPSRLW = f0(0x66, 0x71);
const VPMOVZXWD = f38(0x33, { part: 2 });
const VPMOVSXBW = f38(0x20, { part: 2 });
const VPMOVSXBD = f38(0x21, { part: 4 });
const VCVTPH2PS = f38(0x13, { part: 2 });
const VCVTDQ2PS = f0(0, 0x5b);
const VSQRTPS = f0(0, 0x51);
const VBROADCASTSS = f38(0x18, { reads: 4 });
const VPBROADCASTW = f38(0x79, { reads: 2 });
const VUNPCKLPS = f0(0, 0x14);
const VUNPCKHPS = f0(0, 0x15);
const VUNPCKLPD = f0(0x66, 0x14, { w: 1 });
const VUNPCKHPD = f0(0x66, 0x15, { w: 1 });
const VPERM2F128 = f3a(0x06);
const VSHUFF32X4 = f3a(0x23, { evex: true });
const VINSERTI128 = f3a(0x38, { reads: 16 });
const VINSERTI64X4 = f3a(0x3a, { evex: true, w: 1, reads: 32 });
const [LOAD, STORE] = [f0(0, 0x10), f0(0, 0x11)];
const [LOAD_ONE, STORE_ONE] = [f0(0xf3, 0x10, { reads: 4 }), f0(0xf3, 0x11, { reads: 4 })];

export class X64 extends X64Code {
  // f32
  vaddps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VADDPS, to, a, b);
  vmulps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VMULPS, to, a, b);
  vsubps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VSUBPS, to, a, b);
  vdivps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VDIVPS, to, a, b);
  vsqrtps = (to: Vector, from: Vector | Memory): void => this.#two(VSQRTPS, to, from);
  /** Where one is no number, b; so do minima. */
  vmaxps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VMAXPS, to, a, b);
  vminps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VMINPS, to, a, b);
  vandps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VANDPS, to, a, b);
  /** to = b, without the bits that are set in a. */
  vandnps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VANDNPS, to, a, b);
  vorps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VORPS, to, a, b);
  vxorps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VXORPS, to, a, b);
  /** All bits where a is less than b; of 64 bytes as a mask, k1 to k7, which `vpmovm2d` makes bits of. */
  vcmpltps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VCMPPS, to, a, b, LESS);
  vcmpltpsMask = (to: number, a: Vector, b: Vector | Memory): void =>
    this.vectors(VCMPPS, { reg: to, vvvv: a.vector, rm: b, bytes: a.bytes }, LESS);
  vpmovm2d = (to: Vector, from: number): void => this.#two(VPMOVM2D, to, { ...to, vector: from });
  /** to += a · b, rounded once. */
  vfmadd231ps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VFMADD231PS, to, a, b);

  // whole numbers
  vpaddd = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VPADDD, to, a, b);
  vpsubd = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VPSUBD, to, a, b);
  vpmaxsd = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VPMAXSD, to, a, b);
  /** 16 bits of each lane, the nearest that there are; within 128 bits, those of `a` first. */
  vpackssdw = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VPACKSSDW, to, a, b);
  vpsubb = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VPSUBB, to, a, b);
  vpmaddwd = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VPMADDWD, to, a, b);
  /** to += the sums of pairs of products of 16 bits (AVX512_VNNI). */
  vpdpwssd = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VPDPWSSD, to, a, b);
  vpslld = (to: Vector, from: Vector, bits: number): void => this.#shift(VPSLLD, 6, to, from, bits);
  vpsrld = (to: Vector, from: Vector, bits: number): void => this.#shift(VPSRLD, 2, to, from, bits);
  vpsrad = (to: Vector, from: Vector, bits: number): void => this.#shift(VPSRAD, 4, to, from, bits);
  vpsrlw = (to: Vector, from: Vector, bits: number): void => this.#shift(VPSRLW, 2, to, from, bits);

  // from format to format
  vpmovzxwd = (to: Vector, from: Vector | Memory): void => this.#two(VPMOVZXWD, to, from);
  vpmovsxbw = (to: Vector, from: Vector | Memory): void => this.#two(VPMOVSXBW, to, from);
  vpmovsxbd = (to: Vector, from: Vector | Memory): void => this.#two(VPMOVSXBD, to, from);
  vcvtph2ps = (to: Vector, from: Vector | Memory): void => this.#two(VCVTPH2PS, to, from);
  vpmovzxbd = (to: Vector, from: Vector | Memory): void => this.#two(VPMOVZXBD, to, from);
  /** 16 bits of each lane, the nearest that there are (AVX512F). */
  vpmovsdw = (to: Memory, from: Vector): void => this.#two(VPMOVSDW, from, to);
  vcvtps2dq = (to: Vector, from: Vector | Memory): void => this.#two(VCVTPS2DQ, to, from);
  vcvtdq2ps = (to: Vector, from: Vector | Memory): void => this.#two(VCVTDQ2PS, to, from);

  // loads and stores
  vmovups(to: Vector | Memory, from: Vector | Memory): void {
    if ("vector" in to) this.#two(LOAD, to, from);
    else if ("vector" in from) this.#two(STORE, from, to);
  }
  vmovss(to: Vector | Memory, from: Vector | Memory): void {
    if ("vector" in to) this.#two(LOAD_ONE, to, from);
    else if ("vector" in from) this.#two(STORE_ONE, from, to);
  }
  vbroadcastss = (to: Vector, from: Vector | Memory | Near): void => this.#two(VBROADCASTSS, to, from);
  vpbroadcastw = (to: Vector, from: Vector | Memory): void => this.#two(VPBROADCASTW, to, from);

  // lanes
  vunpcklps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VUNPCKLPS, to, a, b);
  vunpckhps = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VUNPCKHPS, to, a, b);
  vunpcklpd = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VUNPCKLPD, to, a, b);
  vunpckhpd = (to: Vector, a: Vector, b: Vector | Memory): void => this.#three(VUNPCKHPD, to, a, b);
  vperm2f128 = (to: Vector, a: Vector, b: Vector | Memory, which: number): void =>
    this.#three(VPERM2F128, to, a, b, which);
  vshuff32x4 = (to: Vector, a: Vector, b: Vector | Memory, which: number): void =>
    this.#three(VSHUFF32X4, to, a, b, which);
  vinserti128 = (to: Vector, a: Vector, b: Vector | Memory, which: number): void =>
    this.#three(VINSERTI128, to, a, b, which);
  vinserti64x4 = (to: Vector, a: Vector, b: Vector | Memory, which: number): void =>
    this.#three(VINSERTI64X4, to, a, b, which);

  vextracti128 = (to: Vector, from: Vector, which: number): void =>
    this.vectors(VEXTRACTI128, { reg: from.vector, vvvv: 0, rm: to, bytes: from.bytes }, which);

  vzeroupper = (): void => this.bytes([0xc5, 0xf8, 0x77]);

  // general registers
  mov(to: General | Memory, from: General | Memory): void {
    if ("general" in from) this.integers([0x89], from.general, to);
    else if ("general" in to) this.integers([0x8b], to.general, from);
  }
  /** 32 bits, the upper half becomes zero. */
  movd = (to: General, from: Memory): void => this.integers([0x8b], to.general, from, 0);
  movdTo = (to: Memory, from: General): void => this.integers([0x89], from.general, to, 0);
  /** 32 bits, the upper half becomes zero. */
  movl = (to: General, from: General): void => this.integers([0x89], from.general, to, 0);
  lea = (to: General, from: Memory): void => this.integers([0x8d], to.general, from);
  add = (to: General, from: General | number): void => this.#arithmetic(0, to, from);
  sub = (to: General, from: General | number): void => this.#arithmetic(5, to, from);
  and = (to: General, from: General | number): void => this.#arithmetic(4, to, from);
  xor = (to: General, from: General): void => this.#arithmetic(6, to, from);
  shr = (to: General, bits: number): void => {
    this.integers([0xc1], 5, to);
    this.byte(bits);
  };
  push = (from: General): void => this.#stack(0x50, from);
  pop = (to: General): void => this.#stack(0x58, to);
  call = (to: General): void => this.integers([0xff], 2, to, 0);
  ret = (): void => this.byte(0xc3);
  jb = (label: Label): void => this.#jump([0x0f, 0x82], label);
  jae = (label: Label): void => this.#jump([0x0f, 0x83], label);
  je = (label: Label): void => this.#jump([0x0f, 0x84], label);
  prefetcht1 = (from: Memory): void => this.integers([0x0f, 0x18], 2, from, 0);
  cpuid = (): void => this.bytes([0x0f, 0xa2]);
  xgetbv = (): void => this.bytes([0x0f, 0x01, 0xd0]);

  #three(opcode: Opcode, to: Vector, a: Vector, b: Vector | Memory, immediate?: number): void {
    this.vectors(opcode, { reg: to.vector, vvvv: a.vector, rm: b, bytes: to.bytes }, immediate);
  }

  #two(opcode: Opcode, reg: Vector, rm: Vector | Memory | Near): void {
    this.vectors(opcode, { reg: reg.vector, vvvv: 0, rm, bytes: reg.bytes });
  }

  #shift(opcode: Opcode, extension: number, to: Vector, from: Vector, bits: number): void {
    this.vectors(opcode, { reg: extension, vvvv: to.vector, rm: from, bytes: to.bytes }, bits);
  }

  #stack(opcode: number, register: General): void {
    if (register.general > 7) this.byte(0x41);
    this.byte(opcode | (register.general & 7));
  }

  #arithmetic(extension: number, to: General, from: General | number): void {
    if (typeof from !== "number") {
      this.integers([(extension << 3) | 1], from.general, to);
    } else if (Math.abs(from + 0.5) < 128) {
      this.integers([0x83], extension, to);
      this.byte(from & 255);
    } else {
      if (to.general === 0) this.bytes([0x48, (extension << 3) | 5]);
      else this.integers([0x81], extension, to);
      this.word(from);
    }
  }

  /** Always with 32 bits of distance. */
  #jump(opcode: readonly number[], label: Label): void {
    this.bytes(opcode);
    const place = this.length;
    this.word(0);
    this.jump(label, (target) => this.patch(place, target - place - 4));
  }
}
