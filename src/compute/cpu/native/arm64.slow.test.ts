import { expect, test } from "bun:test";
import { Arm64 } from "./arm64.ts";
import { Label } from "./code.ts";
import { assemble, instructionsLeftOut, padded } from "./testing/assemble.ts";

/** An instruction of ours beside the text of the same. */
type Case = readonly [text: string, write: (code: Arm64) => void];

function check(cases: readonly Case[]): void {
  const wanted = assemble(
    "arm64",
    cases.map(([text]) => text),
  );
  const found = cases.map(([, write]) => {
    const code = new Arm64();
    write(code);
    return padded(code.finish());
  });
  expect(cases.map(([text], at) => `${text}: ${found[at]}`)).toEqual(
    cases.map(([text], at) => `${text}: ${wanted[at]}`),
  );
}

const SOME = [0, 1, 9, 15, 16, 31] as const;

test("three vectors", () => {
  const names = {
    fadd: ["fadd", "4s"],
    fsub: ["fsub", "4s"],
    fmul: ["fmul", "4s"],
    fdiv: ["fdiv", "4s"],
    fmax: ["fmax", "4s"],
    fmin: ["fmin", "4s"],
    fmaxnm: ["fmaxnm", "4s"],
    fcmgt: ["fcmgt", "4s"],
    orr: ["orr", "16b"],
    bic: ["bic", "16b"],
    fmla: ["fmla", "4s"],
    add4s: ["add", "4s"],
    addp: ["addp", "4s"],
    sub4s: ["sub", "4s"],
    sub16b: ["sub", "16b"],
    smax: ["smax", "4s"],
    and: ["and", "16b"],
    eor: ["eor", "16b"],
    trn1: ["trn1", "4s"],
    trn2: ["trn2", "4s"],
    trn1of2d: ["trn1", "2d"],
    trn2of2d: ["trn2", "2d"],
  } as const;
  const entries = Object.entries(names) as [keyof typeof names, readonly [string, string]][];
  check(
    entries.flatMap(([name, [text, lanes]]) =>
      SOME.map((d, at): Case => {
        const [n, m] = [SOME[(at + 1) % SOME.length] ?? 0, SOME[(at + 3) % SOME.length] ?? 0];
        return [`${text} v${d}.${lanes}, v${n}.${lanes}, v${m}.${lanes}`, (code) => code[name](d, n, m)];
      }),
    ),
  );
  check(
    SOME.flatMap((d, at): Case[] => {
      const [n, m] = [SOME[(at + 1) % SOME.length] ?? 0, SOME[(at + 3) % SOME.length] ?? 0];
      return [
        [`smull v${d}.4s, v${n}.4h, v${m}.4h`, (code) => code.smull(d, n, m)],
        [`ext v${d}.16b, v${n}.16b, v${m}.16b, 8`, (code) => code.ext(d, n, m, 8)],
        [`ext v${d}.16b, v${n}.16b, v${m}.16b, 4`, (code) => code.ext(d, n, m, 4)],
        [`smull2 v${d}.4s, v${n}.8h, v${m}.8h`, (code) => code.smull2(d, n, m)],
      ];
    }),
  );
});

test("two vectors", () => {
  check(
    SOME.flatMap((d, at): Case[] => {
      const n = SOME[(at + 2) % SOME.length] ?? 0;
      return [
        [`shl v${d}.4s, v${n}.4s, 16`, (code) => code.shl(d, n, 16)],
        [`shl v${d}.4s, v${n}.4s, 23`, (code) => code.shl(d, n, 23)],
        [`sshr v${d}.4s, v${n}.4s, 31`, (code) => code.sshr(d, n, 31)],
        [`sshr v${d}.4s, v${n}.4s, 23`, (code) => code.sshr(d, n, 23)],
        [`ushr v${d}.4s, v${n}.4s, 16`, (code) => code.ushr16(d, n)],
        [`ushr v${d}.16b, v${n}.16b, 4`, (code) => code.ushr4of16b(d, n)],
        [`ushr v${d}.4s, v${n}.4s, 4`, (code) => code.ushr4of4s(d, n)],
        [`shll v${d}.4s, v${n}.4h, 16`, (code) => code.shll(d, n)],
        [`fcvtl v${d}.4s, v${n}.4h`, (code) => code.fcvtl(d, n)],
        [`fsqrt v${d}.4s, v${n}.4s`, (code) => code.fsqrt(d, n)],
        [`scvtf v${d}.4s, v${n}.4s`, (code) => code.scvtf(d, n)],
        [`fcvtns v${d}.4s, v${n}.4s`, (code) => code.fcvtns(d, n)],
        [`sqxtn v${d}.4h, v${n}.4s`, (code) => code.sqxtn(d, n)],
        [`sxtl v${d}.8h, v${n}.8b`, (code) => code.sxtl8h(d, n)],
        [`sxtl v${d}.4s, v${n}.4h`, (code) => code.sxtl4s(d, n)],
        [`uxtl v${d}.8h, v${n}.8b`, (code) => code.uxtl8h(d, n)],
        [`uxtl v${d}.4s, v${n}.4h`, (code) => code.uxtl4s(d, n)],
        [`dup v${d}.4s, v${n}.s[0]`, (code) => code.dup(d, n)],
      ];
    }),
  );
});

test("loads and stores", () => {
  check(
    SOME.flatMap((t, at): Case[] => {
      const base = [0, 1, 15, 30, 31][at % 5] ?? 0;
      const text = base === 31 ? "sp" : `x${base}`;
      const memory = (offset: number) => ({ base, offset });
      return [0, 1, 7, 4095].flatMap((units): Case[] => [
        [`ldr q${t}, [${text}, ${units * 16}]`, (code) => code.ldrq(t, memory(units * 16))],
        [`str q${t}, [${text}, ${units * 16}]`, (code) => code.strq(t, memory(units * 16))],
        [`ldr d${t}, [${text}, ${units * 8}]`, (code) => code.ldrd(t, memory(units * 8))],
        [`str d${t}, [${text}, ${units * 8}]`, (code) => code.strd(t, memory(units * 8))],
        [`ldr s${t}, [${text}, ${units * 4}]`, (code) => code.ldrs(t, memory(units * 4))],
        [`str s${t}, [${text}, ${units * 4}]`, (code) => code.strs(t, memory(units * 4))],
        [`ldr h${t}, [${text}, ${units * 2}]`, (code) => code.ldrh(t, memory(units * 2))],
        [`ldr w${Math.min(t, 30)}, [${text}, ${units * 4}]`, (code) => code.ldrw(Math.min(t, 30), memory(units * 4))],
        [`ldr x${Math.min(t, 30)}, [${text}, ${units * 8}]`, (code) => code.ldrx(Math.min(t, 30), memory(units * 8))],
        [`str x${Math.min(t, 30)}, [${text}, ${units * 8}]`, (code) => code.strx(Math.min(t, 30), memory(units * 8))],
        [`prfm pldl2keep, [${text}, ${units * 8}]`, (code) => code.prfm(memory(units * 8))],
      ]);
    }),
  );
  expect(() => new Arm64().ldrq(0, { base: 0, offset: 8 })).toThrow("no offset of 8 bytes");
});

test("general registers", () => {
  check([
    ["add x3, x4, x5", (code) => code.add(3, 4, 5)],
    ["add x1, x0, w1, uxtw", (code) => code.addw(1, 0, 1)],
    ["mov x9, x17", (code) => code.mov(9, 17)],
    ["mov x17, 65535", (code) => code.movz(17, 65535)],
    ["mov x5, 0", (code) => code.movz(5, 0)],
    ["add sp, sp, 80", (code) => code.addi(31, 31, 80)],
    ["add x7, x8, 4095", (code) => code.addi(7, 8, 4095)],
    ["add x7, x8, 8192", (code) => code.addi(7, 8, 8192)],
    ["sub sp, sp, 80", (code) => code.subi(31, 31, 80)],
    ["subs x7, x8, 16", (code) => code.subs(7, 8, 16)],
    ["blr x2", (code) => code.blr(2)],
    ["ret", (code) => code.ret()],
  ]);
});

test("numbers behind the code are addressed by their distance", () => {
  const code = new Arm64();
  const near = new Label();
  code.ldrsNear(9, near);
  code.ret();
  code.place(near);
  const [wanted] = assemble("arm64", ["ldr s9, .+8"]);
  expect(padded(code.finish().slice(0, 4))).toBe(wanted ?? "");
});

test("jumps count from their begin", () => {
  const code = new Arm64();
  const [before, behind] = [new Label(), new Label()];
  code.place(before);
  code.blo(behind);
  code.bhs(before);
  code.place(behind);
  expect(Buffer.from(code.finish()).toString("hex")).toBe("43000054e2ffff54");
});

test("every instruction is held to the assembler here, and used", async () => {
  expect(await instructionsLeftOut(new Arm64(), import.meta.path, ["arm64-machine.ts"])).toEqual([]);
});
