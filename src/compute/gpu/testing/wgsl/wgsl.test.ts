import { expect, test } from "bun:test";
import { compileShader } from "./compile.ts";
import { runDispatch } from "./dispatch.ts";

/** Runs a kernel's body on two workgroups of four threads, with 8 words to write and a tile of 4. */
function run(body: string, groups = 1): { readonly found: string[]; readonly words: Uint32Array } {
  const code = `
    @group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<u32>;
    var<workgroup> tile: array<u32, 4>;
    var<workgroup> vectors: array<vec4<f32>, 2>;
    var<workgroup> most: atomic<u32>;
    @compute @workgroup_size(4)
    fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
      ${body}
    }`;
  const [x, y] = [Float32Array.of(1.5, -2, 1e-40, NaN).buffer, new ArrayBuffer(32)];
  const bindings = [x, y].map((buffer) => ({ buffer, offset: 0, size: buffer.byteLength }));
  const found: string[] = [];
  runDispatch(compileShader(code), bindings, [groups, 1, 1], (what) => found.push(what));
  return { found, words: new Uint32Array(y) };
}

test.each([
  ["two threads write one word", "y[0] = thread;", /race: .* writes word 0 of y, which another wrote/],
  ["a thread reads what another writes", "y[thread] = y[(thread + 1u) % 4u];", /race: .* another read/],
  [
    "no barrier between",
    "tile[thread] = 1u; y[thread] = tile[3u - thread];",
    /race: .* reads word . of tile, which another wrote/,
  ],
  [
    "a workgroup's barrier does not order buffers",
    "y[thread] = 1u; workgroupBarrier(); y[thread + 4u] = y[3u - thread];",
    /race/,
  ],
  ["components of a vector", "vectors[0][thread] = 1.0;", /race: .* writes word . of vectors, which another wrote/],
  [
    "an atomic read beside changes",
    "atomicMax(&most, thread); y[thread] = atomicLoad(&most);",
    /race: .* reads word 0 of most/,
  ],
  ["an index beyond the end of a buffer", "y[thread + 5u] = 1u;", /y\[8\] is beyond the end, 8 elements/],
  ["and of an array", "tile[thread + 1u] = 1u;", /tile\[4\] is beyond the end, 4 elements/],
  ["and of a vector", "var v = vec4<u32>(0u); v[thread + 1u] = 1u; y[thread] = v.x;", /index 4 into 4 components/],
  ["what was never written", "y[thread] = tile[thread];", /word . is read and was never written/],
  [
    "a barrier for some",
    "if (thread < 2u) { workgroupBarrier(); }",
    /workgroupBarrier in divergent control flow: others have returned/,
  ],
  [
    "two barriers",
    "if (thread < 2u) { workgroupBarrier(); } else {\n workgroupBarrier(); }",
    /divergent .* others come to that of line/,
  ],
])("%s", (_, body, what) => {
  expect(run(body).found.filter((found) => what.test(found))).not.toEqual([]);
});

test("workgroups that write to one place race, whatever barriers there are", () => {
  const body = "storageBarrier(); y[thread] = group.x;";
  expect(run(body, 1).found).toEqual([]);
  expect(run(body, 2).found).not.toEqual([]);
});

test.each([
  ["a barrier between", "tile[thread] = thread; workgroupBarrier(); y[thread] = tile[3u - thread];", [3, 2, 1, 0]],
  ["a storage barrier for buffers", "y[thread] = 1u; storageBarrier(); y[thread + 4u] = y[3u - thread];", [1, 1, 1, 1]],
  [
    "a uniform load waits twice",
    "tile[thread] = 5u; let a = workgroupUniformLoad(&tile[3]); tile[thread] = 6u; y[thread] = a;",
    [5, 5, 5, 5],
  ],
  [
    "atomic changes, then a barrier",
    "atomicMax(&most, thread); workgroupBarrier(); y[thread] = atomicLoad(&most);",
    [3, 3, 3, 3],
  ],
  [
    "numbers wrap and round",
    "y[thread] = u32(i32(0u - 2u)) / 3u + bitcast<u32>(0.1f + 0.2f) % 7u;",
    Array(4).fill(1431655764 + (0x3e99999a % 7)),
  ],
  [
    "NaN goes from a maximum, subnormal numbers from a sum",
    "y[thread] = u32(max(x[3], 2.0)) + bitcast<u32>(x[2] + 0.0);",
    [2, 2, 2, 2],
  ],
  [
    "swizzles, loops, switches",
    "var v = vec4<u32>(1u, 2u, 3u, 4u); for (var i = 0u; i < 3u; i++) { v = v.yzwx; if (i == 1u) { break; } } switch thread { case 0u, 1u: { v.x += 1u; } default: { v = v * 2; } } y[thread] = v.x;",
    [4, 4, 6, 6],
  ],
])("nothing is found: %s", (_, body, wanted) => {
  const { found, words } = run(body);
  expect(found).toEqual([]);
  expect([...words.subarray(0, 4)]).toEqual(wanted);
});

test("what a shader may not say is refused by its line", () => {
  expect(() => run("\n let a = 1u + 1.0f;")).toThrow("line 10: u32 beside f32");
  expect(() => run("let a = nothing;")).toThrow("line 9: nothing is not known");
});
