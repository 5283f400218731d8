import { type At, type Blocks, type Count, type Lanes, type Machine, STORED_BYTES, type Stored } from "./machine.ts";
import { loadTransposed, transpose } from "./x64-transpose.ts";
import { type Vector, xmm, ymm, zmm } from "./x64-encoding.ts";
import { memory, X64Words } from "./x64-words.ts";

/** x86-64 with AVX2 and FMA (8 lanes), or AVX-512 (16). */
export class X64Machine extends X64Words implements Machine {
  readonly lanes: 8 | 16;
  readonly registers: number;
  readonly tile: Machine["tile"];
  readonly squares: number;
  readonly fewRows: number;
  readonly wholeRows: number;
  readonly #vnni: boolean;

  /** @param vnni with AVX-512: products of pairs are added in one instruction */
  constructor(lanes: 8 | 16, vnni: boolean) {
    super();
    this.lanes = lanes;
    this.#vnni = vnni;
    this.wholeRows = lanes === 8 ? 3 : 6;
    this.registers = lanes === 8 ? 16 : 32;
    this.squares = lanes === 8 ? 4 : 2;
    this.fewRows = lanes === 8 ? 14 : 56;
    this.tile = lanes === 8 ? { rows: 6, vectors: 2 } : { rows: 14, vectors: 2 };
  }

  zero(to: Lanes): void {
    this.code.vxorps(this.#all(to), this.#all(to), this.#all(to));
  }

  load(to: Lanes, from: At, count: Count = "all"): void {
    if (count === "one") this.code.vmovss(xmm(to), memory(from));
    else this.code.vmovups(this.#vector(to, count), memory(from));
  }

  prefetch(from: At): void {
    this.code.prefetcht1(memory(from));
  }

  store(from: Lanes, to: At, count: Count = "all"): void {
    if (count === "one") this.code.vmovss(memory(to), xmm(from));
    else this.code.vmovups(memory(to), this.#vector(from, count));
  }

  read(to: Lanes, from: At, stored: Stored, count: Count = "all"): void {
    if (STORED_BYTES[stored] === 4) return this.load(to, from, count);
    const vector = this.#vector(to, count);
    if (stored === "F16" && count !== "one") return this.code.vcvtph2ps(vector, memory(from));
    // One number is in all lanes then.
    if (count === "one") this.code.vpbroadcastw(vector, memory(from));
    else this.code.vpmovzxwd(vector, memory(from));
    if (stored === "F16") this.code.vcvtph2ps(vector, vector);
    else this.code.vpslld(vector, vector, 16);
  }

  broadcast(to: Lanes, from: At): void {
    this.code.vbroadcastss(this.#all(to), memory(from));
  }

  broadcastArgument(to: Lanes, index: number): void {
    this.code.vbroadcastss(this.#all(to), this.placeOf(index));
  }

  constant(to: Lanes, bits: number): void {
    this.code.vbroadcastss(this.#all(to), this.constantAt(bits));
  }

  add32(to: Lanes, a: Lanes, b: Lanes): void {
    this.code.vaddps(this.#all(to), this.#all(a), this.#all(b));
  }

  addFrom(sum: Lanes, from: At): void {
    this.code.vaddps(this.#all(sum), this.#all(sum), memory(from));
  }

  multiply(to: Lanes, a: Lanes, b: Lanes): void {
    this.code.vmulps(this.#all(to), this.#all(a), this.#all(b));
  }

  fma(sum: Lanes, a: Lanes, b: Lanes): void {
    this.code.vfmadd231ps(this.#all(sum), this.#all(a), this.#all(b));
  }

  fmaOf(sum: Lanes, a: Lanes, from: At, temporary: Lanes): void {
    if (this.lanes === 16) return this.code.vfmadd231ps(this.#all(sum), this.#all(a), { ...memory(from), toAll: true });
    this.broadcast(temporary, from);
    this.fma(sum, a, temporary);
  }

  divide(to: Lanes, a: Lanes, b: Lanes): void {
    this.code.vdivps(this.#all(to), this.#all(a), this.#all(b));
  }

  subtract(to: Lanes, a: Lanes, b: Lanes): void {
    this.code.vsubps(this.#all(to), this.#all(a), this.#all(b));
  }

  squareRoot(to: Lanes, from: Lanes): void {
    this.code.vsqrtps(this.#all(to), this.#all(from));
  }

  sumFour(lanes: Lanes, temporary: Lanes): void {
    const [sum, other] = [xmm(lanes), xmm(temporary)];
    this.code.vunpckhpd(other, sum, sum);
    this.code.vaddps(sum, sum, other);
    this.code.vunpcklps(other, sum, sum);
    this.code.vunpckhpd(other, other, other);
    this.code.vaddps(sum, sum, other);
    this.code.vbroadcastss(this.#all(lanes), sum);
  }

  and(to: Lanes, a: Lanes, b: Lanes): void {
    this.code.vandps(this.#all(to), this.#all(a), this.#all(b));
  }

  larger(to: Lanes, a: Lanes, b: Lanes): void {
    this.code.vpmaxsd(this.#all(to), this.#all(a), this.#all(b));
  }

  or(to: Lanes, a: Lanes, b: Lanes): void {
    this.code.vorps(this.#all(to), this.#all(a), this.#all(b));
  }

  andNot(to: Lanes, a: Lanes, b: Lanes): void {
    this.code.vandnps(this.#all(to), this.#all(b), this.#all(a));
  }

  largest(to: Lanes, most: Lanes, value: Lanes): void {
    this.code.vmaxps(this.#all(to), this.#all(value), this.#all(most));
  }

  atLeast(to: Lanes, value: Lanes, bound: Lanes): void {
    this.code.vmaxps(this.#all(to), this.#all(bound), this.#all(value));
  }

  atMost(to: Lanes, value: Lanes, bound: Lanes): void {
    this.code.vminps(this.#all(to), this.#all(bound), this.#all(value));
  }

  less(to: Lanes, a: Lanes, b: Lanes): void {
    if (this.lanes === 8) return this.code.vcmpltps(ymm(to), ymm(a), ymm(b));
    this.code.vcmpltpsMask(1, zmm(a), zmm(b));
    this.code.vpmovm2d(zmm(to), 1);
  }

  shiftLeft(to: Lanes, from: Lanes, bits: number): void {
    this.code.vpslld(this.#all(to), this.#all(from), bits);
  }

  shiftRight(to: Lanes, from: Lanes, bits: number): void {
    this.code.vpsrad(this.#all(to), this.#all(from), bits);
  }

  addPairs(sum: Lanes, a: Lanes, b: Lanes, temporary: Lanes): void {
    if (this.#vnni) return this.code.vpdpwssd(this.#all(sum), this.#all(a), this.#all(b));
    this.code.vpmaddwd(this.#all(temporary), this.#all(a), this.#all(b));
    this.code.vpaddd(this.#all(sum), this.#all(sum), this.#all(temporary));
  }

  multiplyPairs(to: Lanes, a: Lanes, from: At): void {
    this.code.vpmaddwd(this.#all(to), this.#all(a), memory(from));
  }

  addWhole(to: Lanes, a: Lanes, b: Lanes): void {
    this.code.vpaddd(this.#all(to), this.#all(a), this.#all(b));
  }

  subtractWhole(to: Lanes, a: Lanes, b: Lanes): void {
    this.code.vpsubd(this.#all(to), this.#all(a), this.#all(b));
  }

  /** As `transpose`, but what it would bring side by side is added at once. */
  sumLanes(temporary: Lanes): void {
    const { code, lanes } = this;
    type Bring = (to: Vector, a: Vector, b: Vector) => void;
    const join = (apart: number, low: Bring, high: Bring): void => {
      for (let row = 0; row < lanes; row += 2 * apart) {
        const [a, b] = [this.#all(row), this.#all(row + apart)];
        low(this.#all(temporary), a, b);
        high(a, a, b);
        this.addWhole(row, row, temporary);
      }
    };
    join(1, code.vunpcklps, code.vunpckhps);
    join(2, code.vunpcklpd, code.vunpckhpd);
    const [bring, low, high] = lanes === 8 ? [code.vperm2f128, 0x20, 0x31] : [code.vshuff32x4, 0x88, 0xdd];
    for (let apart = 4; apart < lanes; apart *= 2) {
      join(
        apart,
        (...vectors) => bring(...vectors, low),
        (...vectors) => bring(...vectors, high),
      );
    }
  }

  fromWhole(to: Lanes, from: Lanes): void {
    this.code.vcvtdq2ps(this.#all(to), this.#all(from));
  }

  storeWhole(from: Lanes, to: At): void {
    const all = this.#all(from);
    this.code.vcvtps2dq(all, all);
    if (this.lanes === 16) return this.code.vpmovsdw(memory(to), all);
    // The upper half packed beside the lower one.
    this.code.vextracti128(xmm(this.registers - 1), all, 1);
    this.code.vpackssdw(xmm(from), xmm(from), xmm(this.registers - 1));
    this.code.vmovups(memory(to), xmm(from));
  }

  readPairs(
    to: Lanes,
    from: At,
    blocks: Blocks,
    part: number,
    [nibbles, eights, other]: readonly [Lanes, Lanes, Lanes],
  ): void {
    const code = this.code;
    const half = this.lanes === 16 ? ymm(to) : xmm(to);
    if (blocks === "Q8_0")
      return code.vpmovsxbw(this.#all(to), memory({ ...from, offset: (from.offset ?? 0) + part * 2 * this.lanes }));
    code.vmovups(xmm(to), memory(from));
    if (this.lanes === 16) code.vpsrlw(xmm(other), xmm(to), 4);
    else if (part === 1) code.vpsrlw(xmm(to), xmm(to), 4);
    if (this.lanes === 16) code.vinserti128(ymm(to), ymm(to), xmm(other), 1);
    code.vandps(half, half, { ...half, vector: nibbles });
    code.vpsubb(half, half, { ...half, vector: eights });
    code.vpmovsxbw(this.#all(to), half);
  }

  readWhole(to: Lanes, from: At, blocks: Blocks, high: boolean, [nibbles, eights]: readonly [Lanes, Lanes]): void {
    const [code, all] = [this.code, this.#all(to)];
    if (blocks === "Q8_0") code.vpmovsxbd(all, memory(from));
    else {
      code.vpmovzxbd(all, memory(from));
      if (high) code.vpsrld(all, all, 4);
      else code.vandps(all, all, this.#all(nibbles));
      code.vpsubd(all, all, this.#all(eights));
    }
    code.vcvtdq2ps(all, all);
  }

  broadcastHalf(to: Lanes, from: At): void {
    const half = this.lanes === 16 ? ymm(to) : xmm(to);
    this.code.vpbroadcastw(half, memory(from));
    this.code.vcvtph2ps(this.#all(to), half);
  }

  lowerHalves(to: Lanes, from: Lanes): void {
    this.code.vpslld(this.#all(to), this.#all(from), 16);
  }

  upperHalves(to: Lanes, from: Lanes): void {
    this.code.vpsrld(this.#all(to), this.#all(from), 16);
    this.code.vpslld(this.#all(to), this.#all(to), 16);
  }

  transpose(): Lanes[] {
    return transpose(this.code, this.lanes);
  }

  loadTransposed(rowAt: (row: number) => At): Lanes[] {
    return loadTransposed(this.code, this.lanes, (row) => memory(rowAt(row)));
  }

  #all(lane: Lanes): Vector {
    return this.lanes === 8 ? ymm(lane) : zmm(lane);
  }

  #vector(lane: Lanes, count: Count): Vector {
    return count === "all" ? this.#all(lane) : xmm(lane);
  }
}
