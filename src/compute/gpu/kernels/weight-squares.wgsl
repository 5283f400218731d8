// Sums of squares of W + Δ, of its rows or of its columns: what the norms of DoRA's magnitude are made of. W is stored as
// DTYPE, Δ in f32; Δ may be left out.

#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
#include matrix, NAME = "w", BINDING = 1, SCALES = 4
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;

// Four neighbors in a row, squared; zeros beyond the last column.
fn squares(row: u32, vector: u32) -> vec4<f32> {
  var line = line_w(row);
  var value = load4_w(&line, vector);
  if ((p.flags & HAS_DELTA) != 0u) {
    value += delta[p.delta_at + row * p.delta_pitch + vector];
  }
  let inside = vec4<u32>(vector * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
  return select(vec4<f32>(0.0), value * value, inside);
}

#if ALONG == "rows"
#include reduce

const THREADS = ${THREADS}u;

// One workgroup a row. Each thread adds up few terms, and the reduction is a tree.
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let width = (p.cols + 3u) / 4u;
  var total = 0.0;
  for (var begin = thread; begin < width; begin += THREADS * 64u) {
    var block = vec4<f32>(0.0);
    for (var vector = begin; vector < min(width, begin + THREADS * 64u); vector += THREADS) {
      block += squares(workgroup.x, vector);
    }
    total += dot(block, vec4<f32>(1.0));
  }
  let all = sum_of_all(total, thread);
  if (thread == 0u) {
    sums[p.sums_at + workgroup.x] = all;
  }
}
#else
// One thread for four columns, in partial sums of 256 terms.
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x * 4u >= p.cols) {
    return;
  }
  var total = vec4<f32>(0.0);
  for (var begin = 0u; begin < p.rows; begin += 256u) {
    var block = vec4<f32>(0.0);
    for (var row = begin; row < min(p.rows, begin + 256u); row++) {
      block += squares(row, id.x);
    }
    total += block;
  }
  for (var i = 0u; i < 4u; i++) {
    let at = p.sums_at + id.x * 4u + i;
    if (id.x * 4u + i < p.cols) {
      sums[at] = total[i] + select(0.0, sums[at], (p.flags & ACCUMULATE) != 0u);
    }
  }
}
#end
