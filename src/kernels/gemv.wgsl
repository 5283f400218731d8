// y = scale · x Wᵀ (+ bias) (+ residual) for few rows of x: the vector path of a linear layer, bound by reading W;
// gemv-lanes.wgsl is its other form.
// A workgroup computes TILE_COLS neighbouring columns of all ROWS rows; its threads share out the terms, 8 at a time.
#include gemv_operands
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

const THREADS = ${THREADS}u;
const TILE_COLS = ${TILE_COLS}u;
const SUM_BLOCK = 128u * THREADS; // each of a thread's partial sums takes at most 256 terms

fn store(row: u32, col: u32, product: vec4<f32>) {
  if (col >= p.cols) {
    return;
  }
  var value = p.scale * product;
  if ((p.flags & HAS_BIAS) != 0u) {
    value += bias[p.bias_at + col / 4u];
  }
  if ((p.flags & HAS_RESIDUAL) != 0u) {
    value += residual[p.residual_at + row * p.residual_pitch + col / 4u];
  }
  let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
  y[p.y_at + row * p.y_pitch + col / 4u] = select(vec4<f32>(0.0), value, inside);
}

var<workgroup> sums: array<f32, ${ROWS * TILE_COLS * THREADS}>; // [row][col][thread]

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let col = (workgroup.y * p.workgroups_x + workgroup.x) * TILE_COLS;
#for n in 0..TILE_COLS
  let w_${n} = p.w_at + min(col + ${n}u, p.cols - 1u) * p.w_pitch;
#end
#for r in 0..ROWS
#for n in 0..TILE_COLS
  var total_${r}_${n} = vec4<f32>(0.0);
#end
#end
  for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for r in 0..ROWS
#for n in 0..TILE_COLS
    var part_${r}_${n} = vec4<f32>(0.0);
#end
#end
    let block_end = min(block + SUM_BLOCK, p.terms);
    for (var k = block + thread; k < block_end; k += THREADS) {
      // Rows of x may end after the first half of the last group: what W is multiplied by there is zero.
      let second = min(2u * k + 1u, p.x_width - 1u);
      let whole = 2u * k + 1u < p.x_width;
#for r in 0..ROWS
      let low_${r} = x[p.x_at + ${r}u * p.x_pitch + 2u * k];
      let high_${r} = select(vec4<f32>(0.0), x[p.x_at + ${r}u * p.x_pitch + second], whole);
#end
#for n in 0..TILE_COLS
      {
        let eight = load8(w_${n}, k);
#for r in 0..ROWS
        part_${r}_${n} = fma(high_${r}, eight.second, fma(low_${r}, eight.first, part_${r}_${n}));
#end
      }
#end
    }
#for r in 0..ROWS
#for n in 0..TILE_COLS
    total_${r}_${n} += part_${r}_${n};
#end
#end
  }
#for r in 0..ROWS
#for n in 0..TILE_COLS
  sums[${r * TILE_COLS + n}u * THREADS + thread] = dot(total_${r}_${n}, vec4<f32>(1.0));
#end
#end
  workgroupBarrier();
  if (thread < ${ROWS * TILE_COLS / 4}u) {
    var product = vec4<f32>(0.0);
    for (var t = 0u; t < THREADS; t++) {
      let at = thread * 4u * THREADS + t;
      product += vec4<f32>(sums[at], sums[at + THREADS], sums[at + 2u * THREADS], sums[at + 3u * THREADS]);
    }
    store(thread / (TILE_COLS / 4u), col + thread % (TILE_COLS / 4u) * 4u, product);
  }
}
