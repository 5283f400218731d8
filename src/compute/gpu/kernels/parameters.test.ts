import { expect, test } from "bun:test";
import type { KernelSource } from "../pipelines.ts";
import { everyKernel } from "../testing/every-kernel.ts";
import { StructInfo, WgslReflect } from "wgsl_reflect";
import { declaration, type GpuKernel, uniformStruct, type UniformMembers } from "./parameters.ts";

/** What packs the parameters of every kernel, and one of the kernels that it serves. */
const packers = new Map(everyKernel().flatMap((source) => (isWhole(source) ? [[source.parameters, source.key]] : [])));

function isWhole(source: KernelSource): source is GpuKernel<UniformMembers> {
  return "parameters" in source;
}

/** A struct as a shader compiler lays it out. */
function reflected(text: string): StructInfo {
  const [struct] = new WgslReflect(text).structs;
  if (struct === undefined) throw new Error(`no struct: ${text}`);
  return struct;
}

/** A value of a kind that is packed to this word, or to it and the next. */
function valueOf(kind: UniformMembers[string], word: number) {
  const located = (unit: number) => ({ offset: unit * word, pitch: unit * (word + 1) });
  if (typeof kind === "object") return Object.fromEntries(Object.keys(kind).map((name) => [name, true]));
  if (kind === "flag") return true;
  if (kind === "vec2u" || kind === "place") return [word, word + 1];
  if (kind === "vectors" || kind === "vectorsAt") return located(4);
  if (kind === "elements" || kind === "elementsAt") return located(1);
  return kind === "f32" ? word + 0.5 : word * (kind === "inVectors" ? 4 : 1);
}

test("members are declared by name and type", () => {
  const text = declaration({ rowsOf: "u32", x: "vectors", key: "vec2u", isLast: "flag", scale: "f32" });
  const members = ["rows_of: u32", "x_at: u32", "x_pitch: u32", "key: vec2<u32>", "is_last: u32", "scale: f32"];
  expect(text).toBe(`struct Parameters {\n${members.map((member) => `  ${member},\n`).join("")}}`);
});

test.each([...packers].map(([pack, key]) => ({ pack, key })))(
  "$key puts every value where the shader reads it",
  ({ pack }) => {
    const { members, size } = reflected(declaration(pack.members));
    const kinds = Object.entries(pack.members).map(([name, kind], index) => ({ name, kind, word: 100 + 10 * index }));
    const values = Object.fromEntries(kinds.map(({ name, kind, word }) => [name, valueOf(kind, word)]));
    const words = pack(values as Parameters<typeof pack>[0]); // of the kinds that the description says
    expect(words.byteLength).toBe(Math.ceil(size / 16) * 16);
    const floats = new Float32Array(words.buffer);
    const expected = kinds.flatMap(({ kind, word }) => {
      if (kind === "f32" || kind === "flag") return [kind === "f32" ? word + 0.5 : 1];
      if (typeof kind === "object") return [Object.values(kind).reduce((all, bit) => all | bit, 0)];
      return ["u32", "inVectors", "vectorsAt", "elementsAt"].includes(kind) ? [word] : [word, word + 1];
    });
    const found = members.flatMap(({ offset, type }) => {
      const at = offset / 4;
      if (type.getTypeName() === "f32") return [floats[at]];
      return [...words.subarray(at, at + type.size / 4)];
    });
    expect(found).toEqual(expected);
  },
);

test("a vec2 is aligned; flags are 1 or 0; f32 is rounded; the rest is zero", () => {
  const pack = uniformStruct({ one: "u32", key: "vec2u", on: "flag", off: "flag", x: "f32" });
  const words = pack({ one: 7, key: [8, 9], on: true, off: false, x: 0.1 });
  expect([...words]).toEqual([7, 0, 8, 9, 1, 0, 0x3dcccccd, 0]);
});

test("a name that is missing or unknown, or another kind of value, does not compile", () => {
  const pack = uniformStruct({ rows: "u32", x: "elements" });
  // @ts-expect-error: x is missing
  expect([...pack({ rows: 1 })]).toEqual([1, 0, 0, 0]);
  // @ts-expect-error: cols is no member
  expect([...pack({ rows: 1, x: { offset: 2, pitch: 3 }, cols: 4 })]).toEqual([1, 2, 3, 0]);
  // @ts-expect-error: where a matrix lies is two numbers
  expect([...pack({ rows: 1, x: 2 })]).toEqual([1, 2, 0, 0]);
});
