// How instructions of x86-64 are put together: Intel's manual, volume 2, chapter 2.
import { Code, type Label } from "./code.ts";

/** A general register: 64 bits, by its number in the manual. */
export interface General {
  readonly general: number;
}

/** A vector register of 16, 32 or 64 bytes: xmm, ymm or zmm. */
export interface Vector {
  readonly vector: number;
  readonly bytes: 16 | 32 | 64;
}

/** [base + index + offset]. */
export interface Memory {
  readonly base: General;
  readonly index?: General | undefined;
  readonly offset: number;
  /** 32 bits there stand for a whole vector: of EVEX alone. */
  readonly toAll?: true;
}

/** A place in the code itself, which is addressed by its distance. */
export interface Near {
  readonly near: Label;
}

const general = (number: number): General => ({ general: number });
export const [rax, rcx, rdx, rbx] = [general(0), general(1), general(2), general(3)] as const;
export const [rsp, rbp, rsi, rdi] = [general(4), general(5), general(6), general(7)] as const;
export const [r8, r9, r10, r11] = [general(8), general(9), general(10), general(11)] as const;
export const [r12, r13, r14, r15] = [general(12), general(13), general(14), general(15)] as const;

export const xmm = (vector: number): Vector => ({ vector, bytes: 16 });
export const ymm = (vector: number): Vector => ({ vector, bytes: 32 });
export const zmm = (vector: number): Vector => ({ vector, bytes: 64 });
export const at = (base: General, offset = 0, index?: General): Memory => ({ base, offset, index });

/** What stands for the prefixes 66 and F3 in VEX and EVEX. */
export type Prefix = 0 | 0x66 | 0xf3;
const PREFIX_BITS = { 0: 0, 0x66: 1, 0xf3: 2 } as const;
/** The opcode maps 0F, 0F38 and 0F3A, as VEX and EVEX number them. */
export const [MAP_0F, MAP_0F38, MAP_0F3A] = [1, 2, 3] as const;

/** What a vector instruction is known by. */
export interface Opcode {
  readonly prefix: Prefix;
  readonly map: 1 | 2 | 3;
  readonly opcode: number;
  /** The W bit of EVEX; of VEX it is 0 here. */
  readonly w?: 0 | 1;
  /** There is no VEX form. */
  readonly evex?: true;
  /** Of the vector's bytes memory gives a half or a quarter: 2, 4; or so many bytes whatever the vector. */
  readonly part?: 2 | 4;
  readonly reads?: number;
}

/** Operands in the manual's order of encoding: ModRM.reg, vvvv, ModRM.rm. */
interface Operands {
  readonly reg: number;
  readonly vvvv: number;
  readonly rm: Vector | General | Memory | Near;
  /** Of the vectors. */
  readonly bytes: 16 | 32 | 64;
}

/** Code of x86-64. */
export class X64Code extends Code {
  /** A VEX instruction, or an EVEX one where a register or the width needs it. */
  protected vectors(opcode: Opcode, { reg, vvvv, rm, bytes }: Operands, immediate?: number): void {
    const { prefix, map } = opcode;
    const w = opcode.w ?? 0;
    const number = "vector" in rm ? rm.vector : "general" in rm ? rm.general : "base" in rm ? rm.base.general : 0;
    const index = "base" in rm ? (rm.index?.general ?? 0) : 0;
    const toAll = "base" in rm && rm.toAll === true;
    const wide = bytes === 64 || reg > 15 || vvvv > 15 || ("vector" in rm && number > 15);
    const b = (number >> 3) & 1;
    const x = "base" in rm ? (index >> 3) & 1 : (number >> 4) & 1;
    // 0, 1, 2 for 16, 32, 64.
    const length = bytes >> 5;
    const pp = PREFIX_BITS[prefix];
    if (wide || opcode.evex === true) {
      this.byte(0x62);
      this.byte((inverted(reg >> 3) << 7) | ((x ^ 1) << 6) | ((b ^ 1) << 5) | (inverted(reg >> 4) << 4) | map);
      this.byte((w << 7) | ((~vvvv & 15) << 3) | 4 | pp);
      this.byte((length << 5) | (toAll ? 16 : 0) | (inverted(vvvv >> 4) << 3));
    } else {
      const last = ((~vvvv & 15) << 3) | (length << 2) | pp;
      const r = inverted(reg >> 3) << 7;
      if (map === MAP_0F && b === 0 && x === 0) {
        this.byte(0xc5);
        this.byte(r | last);
      } else {
        this.byte(0xc4);
        this.byte(r | ((x ^ 1) << 6) | ((b ^ 1) << 5) | map);
        this.byte(last);
      }
    }
    this.byte(opcode.opcode);
    const read = toAll ? 4 : (opcode.reads ?? bytes / (opcode.part ?? 1));
    this.operand(reg & 7, rm, wide || opcode.evex === true ? read : 1);
    if (immediate !== undefined) this.byte(immediate);
  }

  /** An instruction on general registers. */
  protected integers(opcode: readonly number[], reg: number, rm: General | Memory, w: 0 | 1 = 1): void {
    const base = "base" in rm ? rm.base.general : rm.general;
    const index = "base" in rm ? (rm.index?.general ?? 0) : 0;
    const rex = 0x40 | (w << 3) | ((reg >> 3) << 2) | ((index >> 3) << 1) | (base >> 3);
    if (rex !== 0x40) this.byte(rex);
    this.bytes(opcode);
    this.operand(reg & 7, rm, 1);
  }

  /** ModRM, SIB and the offset, which EVEX counts in units where it has 8 bits. */
  protected operand(reg: number, rm: Vector | General | Memory | Near, unit: number): void {
    if ("near" in rm) {
      this.byte((reg << 3) | 5);
      const place = this.length;
      this.word(0);
      // Counted from the end of the instruction: none that has this operand has anything behind it.
      this.jump(rm.near, (target) => this.patch(place, target - place - 4));
      return;
    }
    if ("vector" in rm || "general" in rm) {
      this.byte(0xc0 | (reg << 3) | (("vector" in rm ? rm.vector : rm.general) & 7));
      return;
    }
    const { base, index, offset } = rm;
    const short = offset % unit === 0 && Math.abs(offset / unit + 0.5) < 128;
    // Without an offset, rbp and r13 as a base would mean none.
    const mod = offset === 0 && (base.general & 7) !== 5 ? 0 : short ? 1 : 2;
    const sib = index !== undefined || (base.general & 7) === 4;
    this.byte((mod << 6) | (reg << 3) | (sib ? 4 : base.general & 7));
    if (sib) this.byte((((index?.general ?? 4) & 7) << 3) | (base.general & 7));
    if (mod === 1) this.byte((offset / unit) & 255);
    else if (mod === 2) this.word(offset);
  }
}

function inverted(bit: number): number {
  return ~bit & 1;
}
