import { describe, expect, test } from "bun:test";
import { NagaError, parseWgsl, validate, writeHlsl, writeMsl } from "naga-wasm";
import { everyKernel } from "../testing/every-kernel.ts";

/** WGSL in Metal's and Direct3D's language, as naga writes it. @throws NagaError where it is no WGSL */
function translated(code: string): readonly string[] {
  using module = parseWgsl(code);
  using info = validate(module);
  // dot4add_i8packed is of shader model 6.4.
  return [writeMsl(module, info), writeHlsl(module, info, { shaderModel: "6_4" })];
}

/** The least number that GPUs keep: they may take smaller ones for zero. */
const LEAST_NORMAL = 2 ** -126;

function hasSubnormal(text: string): boolean {
  const literals = text.match(/\b\d+\.\d+(?:e-?\d+)?/g) ?? [];
  return literals.some((literal) => Number(literal) > 0 && Number(literal) < LEAST_NORMAL);
}

/** What compilers of Metal and Direct3D get wrong or may make something else of, and a line of WGSL that comes to it. */
const HAZARDS: readonly (readonly [what: string, is: (text: string) => boolean, wgsl: string])[] = [
  [
    "a component of a vector in an array is assigned: threads beside each other lose theirs",
    (text) => /\](?:\.[xyzw]|\[[^\]]+\]) = /.test(text),
    "shared_[0][i] = x;",
  ],
  [
    "a number is compared with itself: fast math knows no NaN",
    (text) => /\b([\w.]+) [!=]= \1\b|\bisnan\(|\bisinf\(/.test(text),
    "if (x != x) { y[0] = 1.0; }",
  ],
  [
    "tanh of what may be large: it overflows, and gives NaN",
    (text) => /(?<!\w)tanh\((?!(?:metal::)?clamp\()/.test(text),
    "y[0] = tanh(x);",
  ],
  ["a constant that is subnormal, which may become zero", hasSubnormal, "y[0] = x * 1e-39;"],
];

const kernels = everyKernel();

test("there are many variants, and naga refuses what is no WGSL", () => {
  expect(kernels.length).toBeGreaterThan(100);
  expect(() => translated("@compute @workgroup_size(1) fn main() { let a = 1u + 1.0; }")).toThrow(NagaError);
});

describe.each(
  Map.groupBy(kernels, ({ key }) => key.split("/")[0] ?? "")
    .entries()
    .toArray(),
)("%s", (_, variants) => {
  test("becomes Metal's and Direct3D's code without what their compilers get wrong", () => {
    for (const { key, code } of variants) {
      const texts = translated(code);
      const found = HAZARDS.filter(([, is]) => texts.some(is)).map(([what]) => what);
      expect(found, key).toEqual([]);
    }
  });
});

test.each(HAZARDS)("%s: it is found", (_, is, wgsl) => {
  const kernel = (line: string) => `
    var<workgroup> shared_: array<vec4<f32>, 4>;
    @group(0) @binding(0) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) {
      let x = y[i];
      shared_[i] = vec4<f32>(x);
      ${line}
    }`;
  expect(translated(kernel("")).map(is)).toEqual([false, false]);
  expect(translated(kernel(wgsl)).some(is)).toBe(true);
});
