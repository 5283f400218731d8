import { expect, test } from "bun:test";
import { countDispatch } from "./counts.ts";

/** Counts of two workgroups of 64 threads, of more, whose buffers are said to be larger than they are. */
function counted(body: string, workgroups = 1000) {
  const code = `
    @group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    var<workgroup> tile: array<f32, 1024>;
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
      ${body}
    }`;
  const bindings = [0, 1].map(() => ({ buffer: new ArrayBuffer(4096), offset: 0, size: 2 ** 30 }));
  return countDispatch({ kernel: "test", code, bindings, workgroups: [workgroups, 1, 1] }, 2);
}

test.each([
  ["neighbors side by side", "y[id.x] = x[id.x];", 1, 1],
  ["each in a sector of its own", "y[id.x * 8u] = x[id.x * 8u];", 8, 8],
  ["halves of sectors", "y[id.x / 4u * 8u + id.x % 4u] = x[id.x];", 1.5, 1.5],
  ["all ask for one word", "y[id.x] = x[0];", 1, 1],
  // What a warp leaves is taken before the next barrier.
  ["sectors in turns", "for (var i = 0u; i < 8u; i++) { y[id.x * 8u + i] = 1.0; }", 8, 1],
])("a copy, %s", (_, body, touched, between) => {
  const { global, workgroups } = counted(body);
  expect(workgroups).toBe(1000);
  expect(global.taken / global.needed).toBe(touched);
  if (!body.includes("x[0]")) expect(global.phases / global.bytes).toBe(between);
});

test.each([
  ["side by side", "tile[thread] = 1.0;", 1, 1],
  ["in one bank", "tile[thread * 32u % 1024u] = 1.0;", 32, 32],
  ["in every other bank", "tile[thread * 2u] = 1.0;", 2, 2],
  ["one word for all", "y[id.x] = tile[5];", 1, 1],
  ["a column beside a word of padding", "tile[thread * 33u % 1024u] = 1.0;", 1, 1],
])("banks of workgroup memory, %s", (_, body, conflicts, cycles) => {
  const { shared } = counted(body);
  expect(shared.taken / shared.needed).toBe(conflicts);
  // Two warps of each workgroup.
  expect(shared.cycles).toBe(2000 * cycles);
});

test("operations of a small product: those of indices and constants are none, and a warp waits for its longest thread", () => {
  const rows = "var sum = 0.0; for (var k = 0u; k < 16u; k++) { sum = fma(x[k * 8u], x[id.x + 2u * k], sum); }";
  const { operations, slots, barriers } = counted(`${rows} y[id.x] = sum * (2.0 + 1.0);`);
  expect(operations).toEqual({ fma: 64_000 * 16, float: 64_000, integer: 64_000 * 2 * 16 });
  expect(slots).toBe(64_000 * (16 + 1 + 2 * 16));
  expect(barriers).toBe(0);
  const vectors = counted("y[id.x] = dot(vec4<f32>(x[0]), vec4<f32>(x[1]) * 2.0);").operations;
  expect(vectors).toEqual({ fma: 64_000 * 4, float: 64_000 * 4, integer: 0 });
  const alone = counted(`if (thread == 0u) { ${rows} tile[0] = sum; } workgroupBarrier(); y[id.x] = tile[0];`);
  expect(alone.operations.fma).toBe(1000 * 16);
  // One comparison of both warps, and what one thread does while its neighbors wait.
  expect(alone.slots).toBe(1000 * (64 + 32 * 3 * 16));
  expect(alone.barriers).toBe(1);
});
