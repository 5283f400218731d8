import { expect, test } from "bun:test";
import { Label } from "./code.ts";
import { assemble, instructionsLeftOut, padded } from "./testing/assemble.ts";
import { X64 } from "./x64.ts";
import {
  at,
  type General,
  type Memory,
  r12,
  r13,
  rax,
  rbp,
  rcx,
  rsp,
  r9,
  type Vector,
  xmm,
  ymm,
  zmm,
} from "./x64-encoding.ts";

type Operand = Vector | General | Memory | number;
const GENERAL = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");

/** As `as` reads it. */
function text(operand: Operand): string {
  if (typeof operand === "number") return String(operand);
  if ("vector" in operand) return `${{ 16: "x", 32: "y", 64: "z" }[operand.bytes]}mm${operand.vector}`;
  if ("general" in operand) return GENERAL[operand.general] ?? "";
  const { base, index, offset, toAll = false } = operand;
  return `[${text(base)}${index === undefined ? "" : ` + ${text(index)}`} + ${offset}]${toAll ? "{1to16}" : ""}`;
}

/** An instruction of ours beside the text of the same. */
function check(
  cases: readonly (readonly [name: string, operands: readonly Operand[]])[],
  inText = (line: string): string => line,
): void {
  const lines = cases.map(
    ([name, operands]) =>
      `${name.replace(/^mov(d|dTo|l)$/, "mov")} ${operands.map((operand) => (/^mov[dl]/.test(name) && typeof operand !== "number" && "general" in operand ? shorter(operand) : text(operand))).join(", ")}`,
  );
  const wanted = assemble("x64", lines.map(inText));
  const found = cases.map(([name, operands]) => {
    const code = new X64();
    const method: unknown = Reflect.get(code, name);
    if (typeof method !== "function") throw new Error(`there is no ${name}`);
    Reflect.apply(method, code, operands);
    return padded(code.finish());
  });
  expect(lines.map((line, at) => `${line}: ${found[at]}`)).toEqual(lines.map((line, at) => `${line}: ${wanted[at]}`));
}

function shorter(register: General): string {
  return register.general < 8 ? (GENERAL[register.general] ?? "").replace("r", "e") : `r${register.general}d`;
}

/** Every form of ModRM and SIB, with offsets that EVEX can and cannot shorten. */
const MEMORY = [rax, rsp, rbp, r12, r13].flatMap((base) =>
  [0, 4, 64, -128, 127, 128, 8128, 65536].flatMap((offset) => [
    at(base, offset),
    at(base, offset, r9),
    at(base, offset, rcx),
  ]),
);
const WIDTHS = [
  [xmm, 16],
  [ymm, 16],
  [zmm, 32],
] as const;
/** Of each width some registers, and all that has to do with their fifth bit. */
const vectors = WIDTHS.flatMap(([width, count]) =>
  [0, 7, 8, 15, ...(count > 16 ? [16, 31] : [])].map((number) => ({ width, vector: width(number) })),
);
const smaller = (vector: Vector, part: number): Vector => ({
  ...vector,
  bytes: vector.bytes === 64 ? (part === 2 ? 32 : 16) : 16,
});

const THREE =
  "vaddps vmulps vsubps vmaxps vminps vandps vandnps vorps vxorps vfmadd231ps vpaddd vpsubb vpmaddwd vunpcklps vunpckhps vunpcklpd vunpckhpd vpdpwssd vdivps vpsubd vpmaxsd vpackssdw".split(
    " ",
  );
test.each(THREE.map((name) => [name] as const))("%s", (name) => {
  // `and` and `xor` of zmm have their own bit pattern for f32, as others have.
  const evex = name === "vpdpwssd";
  const of = vectors.filter(({ vector }) => !evex || vector.bytes === 64);
  check(
    of.flatMap(({ width, vector }) => [
      [name, [vector, width(3), width(9)]] as const,
      [name, [width(3), vector, width(5)]] as const,
      [name, [width(2), width(1), vector]] as const,
      ...MEMORY.map((memory) => [name, [vector, width(6), memory]] as const),
    ]),
  );
});

test("vcmpltps", () => {
  const cases = [ymm(0), ymm(15)].map((vector) => ["vcmpltps", [vector, ymm(3), ymm(9)]] as const);
  check(cases, (line) => line.replace("vcmpltps", "vcmplt_oqps"));
  const code = (write: (code: X64) => void) => {
    const x64 = new X64();
    write(x64);
    return padded(x64.finish());
  };
  const masked = [
    ["vcmplt_oqps k1, zmm3, zmm9", code((x64) => x64.vcmpltpsMask(1, zmm(3), zmm(9)))],
    ["vcmplt_oqps k2, zmm31, zmm16", code((x64) => x64.vcmpltpsMask(2, zmm(31), zmm(16)))],
    ["vpmovm2d zmm0, k1", code((x64) => x64.vpmovm2d(zmm(0), 1))],
    ["vpmovm2d zmm31, k2", code((x64) => x64.vpmovm2d(zmm(31), 2))],
  ] as const;
  expect(masked.map(([, found]) => found)).toEqual(
    assemble(
      "x64",
      masked.map(([line]) => line),
    ),
  );
});

test("one number in memory stands for a whole vector", () => {
  const cases = [zmm(0), zmm(31)].flatMap((vector) =>
    MEMORY.map((memory) => ["vfmadd231ps", [vector, zmm(17), { ...memory, toAll: true as const }]] as const),
  );
  check(cases);
});

test.each([["vpslld"], ["vpsrld"], ["vpsrad"], ["vpsrlw"]] as const)("%s", (name) => {
  check(
    vectors.flatMap(({ width, vector }) => [
      [name, [vector, width(3), 16]] as const,
      [name, [width(9), vector, 1]] as const,
    ]),
  );
});

test.each([
  ["vpmovzxwd", 2],
  ["vpmovsxbw", 2],
  ["vpmovsxbd", 4],
  ["vcvtph2ps", 2],
  ["vsqrtps", 1],
  ["vcvtdq2ps", 1],
  ["vcvtps2dq", 1],
  ["vpmovzxbd", 4],
] as const)("%s", (name, part) => {
  check(
    vectors.flatMap(({ vector }) => [
      [name, [vector, part === 1 ? vector : smaller(vector, part)]] as const,
      ...MEMORY.map((memory) => [name, [vector, memory]] as const),
    ]),
  );
});

test("loads, stores, broadcasts", () => {
  check([
    ...vectors.flatMap(({ vector }) =>
      MEMORY.flatMap(
        (memory) =>
          [
            ["vmovups", [vector, memory]],
            ["vmovups", [memory, vector]],
          ] as const,
      ),
    ),
    ...vectors
      .filter(({ vector }) => vector.bytes === 16)
      .flatMap(({ vector }) =>
        MEMORY.flatMap(
          (memory) =>
            [
              ["vmovss", [vector, memory]],
              ["vmovss", [memory, vector]],
            ] as const,
        ),
      ),
    ...["vbroadcastss", "vpbroadcastw"].flatMap((name) =>
      vectors.flatMap(({ vector }) => [
        [name, [vector, xmm(9)]] as const,
        ...MEMORY.map((memory) => [name, [vector, memory]] as const),
      ]),
    ),
  ]);
});

test("lanes", () => {
  check([
    ["vperm2f128", [ymm(1), ymm(9), ymm(3), 0x31]],
    ["vperm2f128", [ymm(11), ymm(2), ymm(13), 0x20]],
    ["vinserti128", [ymm(1), ymm(9), xmm(3), 1]],
    ["vinserti128", [ymm(1), ymm(9), at(r13, 16), 1]],
    ["vinserti64x4", [zmm(1), zmm(19), ymm(30), 1]],
    ...MEMORY.map((memory) => ["vinserti64x4", [zmm(17), zmm(2), memory, 1]] as const),
    ["vshuff32x4", [zmm(1), zmm(19), zmm(30), 0x88]],
    ["vshuff32x4", [zmm(17), zmm(2), zmm(3), 0xdd]],
    ["vextracti128", [xmm(3), ymm(9), 1]],
    ["vextracti128", [xmm(13), ymm(2), 1]],
    ...MEMORY.map((memory) => ["vpmovsdw", [memory, zmm(17)]] as const),
    ["vzeroupper", []],
  ]);
});

test("general registers", () => {
  const registers = [rax, rcx, rsp, rbp, r9, r12, r13];
  check([
    ...["mov", "add", "sub", "and", "xor"].flatMap((name) =>
      registers.flatMap((one) => registers.map((other) => [name, [one, other]] as const)),
    ),
    ...registers.flatMap((one) => registers.map((other) => ["movl", [one, other]] as const)),
    ...["add", "sub", "and"].flatMap((name) =>
      registers.flatMap((one) => [0, 4, 127, 128, -128, -129, 4096].map((number) => [name, [one, number]] as const)),
    ),
    ...registers.flatMap((one) =>
      MEMORY.flatMap(
        (memory) =>
          [
            ["mov", [one, memory]],
            ["mov", [memory, one]],
            ["lea", [one, memory]],
            ["movd", [one, memory]],
            ["movdTo", [memory, one]],
          ] as const,
      ),
    ),
    ...MEMORY.map((memory) => ["prefetcht1", [memory]] as const),
    ...registers.flatMap(
      (one) =>
        [
          ["push", [one]],
          ["pop", [one]],
          ["call", [one]],
          ["shr", [one, 27]],
        ] as const,
    ),
    ["ret", []],
    ["cpuid", []],
    ["xgetbv", []],
  ]);
});

test("numbers behind the code are addressed by their distance", () => {
  for (const vector of [xmm(1), ymm(9), zmm(3), zmm(25)]) {
    const code = new X64();
    const near = new Label();
    code.vbroadcastss(vector, { near });
    const { length } = code;
    code.place(near);
    const [wanted] = assemble("x64", [`vbroadcastss ${text(vector)}, [rip]`]);
    expect(padded(code.finish().slice(0, length))).toBe(wanted ?? "");
  }
});

test("jumps count from their end", () => {
  const code = new X64();
  const [before, behind] = [new Label(), new Label()];
  code.place(before);
  code.je(before);
  code.jb(behind);
  code.jae(before);
  code.je(behind);
  code.place(behind);
  const found = Buffer.from(code.finish()).toString("hex");
  expect(found).toBe("0f84faffffff0f820c0000000f83eeffffff0f8400000000");
});

test("every instruction is held to the assembler here, and used", async () => {
  const users = ["x64-machine.ts", "x64-transpose.ts", "x64-words.ts", "features.ts"];
  expect(await instructionsLeftOut(new X64(), import.meta.path, users)).toEqual([]);
});
