import { CFunction, ptr } from "bun:ffi";
import { Label } from "./code.ts";
import { executable } from "./pages.ts";
import { at, r8, r9, rax, rbx, rcx, rdi } from "./x64-encoding.ts";
import { X64 } from "./x64.ts";

/** What the processor has of what the code of each name needs. */
export interface Features {
  readonly avx2: boolean;
  readonly avx512: boolean;
  /** AVX-512's sums of products of pairs. */
  readonly vnni: boolean;
}

/** Asks the processor, by code of our own. @throws NoPages where code cannot be run */
export function x64Features(): Features {
  const address = executable(questions());
  const answers = new Uint32Array(8);
  CFunction({ ptr: address, args: ["ptr"], returns: "void" })(ptr(answers));
  const [leaves = 0, basic = 0, extended = 0, more = 0, saved = 0] = answers;
  const ebx7 = leaves >= 7 ? extended : 0;
  const has = (word: number, ...bits: readonly number[]) => bits.every((bit) => ((word >>> bit) & 1) === 1);
  // FMA, XSAVE as the system uses it, AVX, F16C; AVX2. The system saves the registers' upper halves, of 512 bits all of them.
  const avx2 = has(basic, 12, 27, 28, 29) && has(ebx7, 5) && has(saved, 1, 2);
  // F, DQ, BW, VL.
  const avx512 = avx2 && has(ebx7, 16, 17, 30, 31) && has(saved, 5, 6, 7);
  return { avx2, avx512, vnni: avx512 && leaves >= 7 && has(more, 11) };
}

/** Writes the number of leaves, ecx of leaf 1, ebx and ecx of leaf 7 and XCR0, five words, to the address that it is called with. */
function questions(): Uint8Array {
  const code = new X64();
  code.push(rbx);
  code.mov(r8, process.platform === "win32" ? rcx : rdi);
  const ask = (leaf: number) => {
    code.xor(rax, rax);
    code.add(rax, leaf);
    code.xor(rcx, rcx);
    code.cpuid();
  };
  ask(0);
  code.movdTo(at(r8, 0), rax);
  ask(1);
  code.mov(r9, rcx);
  code.movdTo(at(r8, 4), rcx);
  ask(7);
  code.movdTo(at(r8, 8), rbx);
  code.movdTo(at(r8, 12), rcx);
  // XGETBV is there where the system uses XSAVE.
  const label = new Label();
  code.shr(r9, 27);
  code.and(r9, 1);
  code.je(label);
  code.xor(rcx, rcx);
  code.xgetbv();
  code.movdTo(at(r8, 16), rax);
  code.place(label);
  code.pop(rbx);
  code.ret();
  return code.finish();
}
