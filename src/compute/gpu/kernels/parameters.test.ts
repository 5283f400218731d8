import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { StructInfo, WgslReflect } from "wgsl_reflect";
import { type Pair, uniformStruct, type UniformMembers, type UniformStruct } from "./parameters.ts";

/** Packers that are not called after their file. */
const PACKERS: Readonly<Record<string, readonly string[]>> = {
  "gemm-operands": ["gemmParameters"],
  "gemv-operands": ["gemvParameters"],
  norm: ["squaresParameters", "normParameters"],
};

type Packer = UniformStruct<UniformMembers>;

/** What every module of this folder exports and calls …Parameters. */
const packers = new Map<string, Packer>();
for (const path of new Bun.Glob("*.ts").scanSync(import.meta.dir)) {
  if (/\.test\.ts$|\.d\.ts$/.test(path)) continue;
  const exported = Object.entries((await import(join(import.meta.dir, path))) as Record<string, unknown>);
  for (const [name, value] of exported) if (isPacker(value)) packers.set(name, value);
}

function isPacker(value: unknown): value is Packer {
  return typeof value === "function" && "members" in value;
}

/** The uniform structs of all `.wgsl` files, in their order, with the names of their packers. */
const structs = [...new Bun.Glob("*.wgsl").scanSync(import.meta.dir)].toSorted().flatMap((path) => {
  const text = readFileSync(join(import.meta.dir, path), "utf8");
  const name = path.replace(/\.wgsl$/, "");
  const declared = [...text.matchAll(/^struct Parameters \{[^}]*\}/gm)].map(([declaration]) => declaration);
  const names = PACKERS[name] ?? [`${camel(name)}Parameters`];
  return declared.map((declaration, index) => ({ packer: names[index] ?? `another for ${path}`, declaration }));
});

function camel(name: string): string {
  return name.replace(/[-_](\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** A struct as a shader compiler lays it out. */
function reflected(declaration: string): StructInfo {
  const [struct] = new WgslReflect(declaration).structs;
  if (struct === undefined) throw new Error(`no struct: ${declaration}`);
  return struct;
}

interface Member {
  readonly name: string;
  readonly type: string;
}

/** The members that a description stands for, in WGSL. */
function describedMembers(members: UniformMembers): Member[] {
  return Object.entries(members).flatMap(([name, kind]): Member[] => {
    if (kind === "place") return ["At", "Pitch"].map((what) => ({ name: name + what, type: "u32" }));
    return [{ name, type: kind === "flag" ? "u32" : kind }];
  });
}

/** Values by name, no two alike. */
function distinct(members: UniformMembers): Record<string, number | boolean | Pair> {
  return Object.fromEntries(
    Object.entries(members).map(([name, kind], index) => {
      const value = 100 + 10 * index;
      if (kind === "flag") return [name, true];
      return [name, kind === "vec2u" || kind === "place" ? [value, value + 1] : value + (kind === "f32" ? 0.5 : 0)];
    }),
  );
}

test("every uniform struct of a shader has a packer, and every packer a struct", () => {
  expect(structs.length).toBeGreaterThan(25);
  expect(structs.map(({ packer }) => packer).toSorted()).toEqual([...packers.keys()].toSorted());
});

describe.each(structs)("$packer", ({ packer, declaration }) => {
  const pack = packers.get(packer) ?? uniformStruct({});
  const { members: inWgsl, size } = reflected(declaration);
  const padding = inWgsl.findIndex(({ name }) => /^pad\d*$/.test(name));
  const meant = padding < 0 ? inWgsl : inWgsl.slice(0, padding);

  test("names the members of the shader's struct, in their order and types, and nothing but padding follows", () => {
    const shown = meant.map(({ name, type }): Member => ({ name: camel(name), type: type.getTypeName() }));
    expect(describedMembers(pack.members)).toEqual(shown);
    expect(inWgsl.slice(meant.length).every(({ name }) => /^pad\d*$/.test(name))).toBe(true);
  });

  test("puts every value where the shader reads it, in whole 16 bytes", () => {
    const values = distinct(pack.members);
    const words = pack(values as Parameters<typeof pack>[0]); // of the kinds that the description says
    expect(words.byteLength).toBe(Math.ceil(size / 16) * 16);
    const floats = new Float32Array(words.buffer);
    const expected = Object.values(values).flatMap((value) => (typeof value === "object" ? [...value] : [value]));
    const found = meant.flatMap(({ offset, type }) => {
      const at = offset / 4;
      if (type.getTypeName() === "f32") return [floats[at]];
      return [...words.subarray(at, at + type.size / 4)];
    });
    expect(found).toEqual(expected.map(Number));
  });
});

test("a vec2 is aligned; flags are 1 or 0; f32 is rounded; the rest is zero", () => {
  const pack = uniformStruct({ one: "u32", key: "vec2u", on: "flag", off: "flag", x: "f32" });
  const words = pack({ one: 7, key: [8, 9], on: true, off: false, x: 0.1 });
  expect([...words]).toEqual([7, 0, 8, 9, 1, 0, 0x3dcccccd, 0]);
});

test("a name that is missing or unknown, or another kind of value, does not compile", () => {
  const pack = uniformStruct({ rows: "u32", x: "place" });
  // @ts-expect-error: x is missing
  expect([...pack({ rows: 1 })]).toEqual([1, 0, 0, 0]);
  // @ts-expect-error: cols is no member
  expect([...pack({ rows: 1, x: [2, 3], cols: 4 })]).toEqual([1, 2, 3, 0]);
  // @ts-expect-error: a place is two numbers
  expect([...pack({ rows: 1, x: 2 })]).toEqual([1, 2, 0, 0]);
});
