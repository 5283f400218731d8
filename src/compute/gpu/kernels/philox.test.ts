import { expect, test } from "bun:test";
import { openTestGpu } from "../../device/testing/open.ts";
import { Stream } from "../stream.ts";
import { read } from "../../device/transfer.ts";
import { roundToGrid } from "../../random/grid.ts";
import type { FloatGrid, Sparsity } from "../../random/names.ts";
import { philoxElement, philoxStream } from "../../random/philox.ts";
import philoxText from "./philox.wgsl" with { type: "text" };
import { expandTemplate } from "./template.ts";

const COUNT = 4096;

/** Draws elements 4·id … 4·id + 3 of stream 1. */
const DRAW = `
#include philox
struct Parameters { key: vec2<u32>, kind: u32, threshold: u32, scale: f32, pad0: f32, pad1: f32, pad2: f32 }
@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read_write> drawn: array<vec4<f32>>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (p.kind == 2u) {
    let words = philox4x32_10(vec4<u32>(id.x / 2u, 0u, 1u, 0u), p.key);
    let pair = select(words.xy, words.zw, (id.x & 1u) == 1u);
    drawn[id.x] = vec4<f32>(
      philox_very_sparse(pair.x, p.threshold, p.scale), philox_very_sparse(pair.y, p.threshold, p.scale));
  } else {
    let words = philox4x32_10(vec4<u32>(id.x / 4u, 0u, 1u, 0u), p.key);
    let word = words[id.x & 3u];
    if (p.kind == 0u) { drawn[id.x] = philox_dense(word); } else { drawn[id.x] = philox_sparse(word, p.scale); }
  }
}`;

const KINDS: readonly (readonly [Sparsity, number])[] = [
  ["dense", 0],
  ["sparse", 1],
  ["very-sparse", 2],
];

test.each(KINDS)("the GPU draws the same bits as the CPU: %s", async (sparsity, kind) => {
  using gpu = await openTestGpu();
  const kernel = await gpu.pipelines.get({
    key: "test/philox",
    code: expandTemplate(DRAW, {}, { philox: philoxText }),
  });
  const stream = philoxStream(-123456789012345n, 1, sparsity, 576);
  const parameters = new Uint32Array([stream.key[0], stream.key[1], kind, stream.threshold, 0, 0, 0, 0]);
  new Float32Array(parameters.buffer)[4] = stream.scale;
  const drawn = gpu.memory.allocate("drawn", COUNT * 4);
  const commands = new Stream(gpu);
  commands.dispatch(kernel, parameters, [drawn], [COUNT / 4 / 64]);
  commands.submit();
  const ours = new Uint32Array((await read(gpu, drawn)).buffer);
  const theirs = new Uint32Array(Float32Array.from({ length: COUNT }, (_, at) => philoxElement(stream, at)).buffer);
  expect(ours.findIndex((bits, at) => bits !== theirs[at])).toBe(-1);
});

/** The elements of bytes 4·id … 4·id + 3 on a grid. */
const ROUND = `
#include philox
struct Parameters { dropped: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read_write> drawn: array<vec4<f32>>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  drawn[id.x] = philox_on_grid(philox_dense(id.x * 0x04040404u + 0x03020100u), p.dropped);
}`;

/** A constant of philox.wgsl, a hexadecimal float. */
function constant(name: string): number {
  const [, digits = "", exponent] = new RegExp(`const ${name} = 0x1\\.(\\w+?)p(-?\\d+)f;`).exec(philoxText) ?? [];
  return (1 + parseInt(digits, 16) / 16 ** digits.length) * 2 ** Number(exponent);
}

test("dense elements are the same bits whether a compiler fuses multiplications with additions or not", () => {
  const [high, low] = [constant("PHILOX_DENSE_HIGH"), constant("PHILOX_DENSE_LOW")];
  // Products and sums of these f32 numbers are exact in f64: a fused operation is rounded once, others twice.
  const roundings = [(value: number) => value, Math.fround];
  for (let byte = 0; byte < 256; byte++) {
    const wanted = Math.fround(((2 * byte - 255) / 255) * Math.sqrt(765 / 257));
    for (const inner of roundings) {
      const rest = Math.fround(inner(byte * (2 * low)) - Math.fround(255 * low));
      for (const outer of roundings) expect(Math.fround(outer((2 * byte - 255) * high) + rest)).toBe(wanted);
    }
  }
});

const GRIDS: readonly (readonly [FloatGrid, number])[] = [
  ["f32", 0],
  ["f16", 13],
  ["bf16", 16],
];

test.each(GRIDS)("every byte gives its dense element, rounded as PyTorch does: %s", async (grid, dropped) => {
  using gpu = await openTestGpu();
  const code = expandTemplate(ROUND, {}, { philox: philoxText });
  const kernel = await gpu.pipelines.get({ key: "test/philox on a grid", code });
  const drawn = gpu.memory.allocate("drawn", 1024);
  const commands = new Stream(gpu);
  commands.dispatch(kernel, Uint32Array.of(dropped, 0, 0, 0), [drawn], [1]);
  commands.submit();
  const ours = new Uint32Array((await read(gpu, drawn)).buffer);
  const elements = Float32Array.from({ length: 256 }, (_, byte) =>
    roundToGrid(((2 * byte - 255) / 255) * Math.sqrt(765 / 257), grid),
  );
  expect(ours).toEqual(new Uint32Array(elements.buffer));
});
