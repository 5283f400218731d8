// y[r] = W_g x[r] for few rows, each with the matrix of its group: the vector path, bound by reading those matrices. A workgroup
// computes TILE_COLS columns of one row; its threads share out the terms, 8 at a time. Those that read the same rows are neighbors.
#include parameters
#include matrix8, SCALES = 5

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stored: array<Stored>; // W
@group(0) @binding(3) var<storage, read> begins: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

const THREADS = ${THREADS}u;
const TILE_COLS = ${TILE_COLS}u;
const SUM_BLOCK = 128u * THREADS; // each of a thread's partial sums takes at most 256 terms

var<workgroup> sums: array<f32, ${TILE_COLS * THREADS}>; // [col][thread]

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.x;
  // The last group that begins at or before the row.
  var group = 0u;
  var beyond = p.groups;
  for (; beyond - group > 1u;) {
    let middle = (group + beyond) / 2u;
    if (begins[p.begins_at + middle] <= row) {
      group = middle;
    } else {
      beyond = middle;
    }
  }
  if (row < begins[p.begins_at + group] || row >= begins[p.begins_at + group + 1u]) {
    return; // its matrix is in another block
  }
  let col = (workgroup.z * p.workgroups_y + workgroup.y) * TILE_COLS;
#for n in 0..TILE_COLS
  let w_${n} = p.w_at + (group * p.cols + min(col + ${n}u, p.cols - 1u)) * p.w_pitch;
  var total_${n} = vec4<f32>(0.0);
#end
  let x_first = p.x_at + row * p.x_pitch;
  for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for n in 0..TILE_COLS
    var part_${n} = vec4<f32>(0.0);
#end
    let block_end = min(block + SUM_BLOCK, p.terms);
    for (var k = block + thread; k < block_end; k += THREADS) {
      // A row of x may end after the first half of the last group: what W is multiplied by there is zero.
      let low = x[x_first + 2u * k];
      let second = min(2u * k + 1u, p.x_width - 1u);
      let high = select(vec4<f32>(0.0), x[x_first + second], 2u * k + 1u < p.x_width);
#for n in 0..TILE_COLS
      let eight_${n} = load8(w_${n}, k);
      part_${n} = fma(high, eight_${n}.second, fma(low, eight_${n}.first, part_${n}));
#end
    }
#for n in 0..TILE_COLS
    total_${n} += part_${n};
#end
  }
#for n in 0..TILE_COLS
  sums[${n}u * THREADS + thread] = dot(total_${n}, vec4<f32>(1.0));
#end
  workgroupBarrier();
  if (thread == 0u && col < p.cols) {
    var product = vec4<f32>(0.0);
    for (var t = 0u; t < THREADS; t++) {
      product += vec4<f32>(sums[t], sums[t + THREADS], sums[t + 2u * THREADS], sums[t + 3u * THREADS]);
    }
    let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
    y[p.y_at + row * p.y_pitch + col / 4u] = select(vec4<f32>(0.0), product, inside);
  }
}
