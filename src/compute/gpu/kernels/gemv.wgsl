// y = scale · x Wᵀ (+ bias) (+ residual) for few rows of x: the vector path of a linear layer, bound by reading W;
// gemv-operands.wgsl says what x may be.
// A workgroup computes TILE_COLS rows of W for ROWS rows, the last for fewer; its threads share out the terms, 8 at a time.
// Those that read the same rows of W are neighbors.
#include gemv_operands
#if GATED
alias Stores = vec2<f32>;
#include gates
#else
alias Stores = vec4<f32>;
#end
#if INPUT != "joined"
@group(0) @binding(3) var<storage, read> bias: array<Stores>;
#end
#if INPUT == "plain"
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
#end
@group(0) @binding(5) var<storage, read_write> y: array<Stores>;
#if INPUT == "joined"
#include reduce
#end

const THREADS = ${THREADS}u;
const TILE_COLS = ${TILE_COLS}u;
const ROWS = ${ROWS}u;
const SUM_BLOCK = 128u * THREADS; // each of a thread's partial sums takes at most 256 terms

#if GATED
// Of columns `col` and the next one, the first half's products and the second's.
fn store(row: u32, col: u32, product: vec4<f32>) {
  if (row >= p.rows || col >= p.cols) {
    return;
  }
  var value = p.scale * product;
#if INPUT != "joined"
  if ((p.flags & HAS_BIAS) != 0u) {
    let at = 2u * p.bias_at + col / 2u;
    value += vec4<f32>(bias[at], bias[at + p.cols / 2u]);
  }
#end
  y[2u * (p.y_at + row * p.y_pitch) + col / 2u] = gated(p.gate, value, value.zwxy).xy;
}
#else
fn store(row: u32, col: u32, product: vec4<f32>) {
  if (row >= p.rows || col >= p.cols) {
    return;
  }
  var value = p.scale * product;
#if INPUT != "joined"
  if ((p.flags & HAS_BIAS) != 0u) {
    value += bias[p.bias_at + col / 4u];
  }
#end
#if INPUT == "plain"
  if ((p.flags & HAS_RESIDUAL) != 0u) {
    value += residual[p.residual_at + row * p.residual_pitch + col / 4u];
  }
#end
  let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
  y[p.y_at + row * p.y_pitch + col / 4u] = select(vec4<f32>(0.0), value, inside);
}
#end

var<workgroup> sums: array<f32, ${ROWS * TILE_COLS * THREADS}>; // [row][col][thread]
#if INPUT != "plain"
var<workgroup> squares: array<f32, ${ROWS * THREADS}>; // [row][thread]
#end

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tile = workgroup.z * p.workgroups_y + workgroup.y;
#if GATED
  let col = tile * (TILE_COLS / 2u);
#for n in 0..TILE_COLS
  let w_${n} = p.w_at + (min(col + ${n % (TILE_COLS / 2)}u, p.cols - 1u) + ${n / (TILE_COLS / 2)}u * p.cols) * p.w_pitch;
#end
#else
  let col = tile * TILE_COLS;
#for n in 0..TILE_COLS
  let w_${n} = p.w_at + min(col + ${n}u, p.cols - 1u) * p.w_pitch;
#end
#end
#for r in 0..ROWS
  let row_${r} = min(workgroup.x * ROWS + ${r}u, p.rows - 1u);
  var joined_${r} = 0.0;
#if INPUT != "plain"
  var square_${r} = vec4<f32>(0.0);
#end
#for n in 0..TILE_COLS
  var total_${r}_${n} = vec4<f32>(0.0);
#end
#end
#if INPUT == "joined"
#for r in 0..ROWS
  {
    var all = vec4<f32>(0.0);
    for (var c = thread; c < p.x_width; c += THREADS) {
      let value = branch[p.branch_at + row_${r} * p.branch_pitch + c];
      all = fma(value, value, all);
    }
    joined_${r} = root(sum_of_all(dot(all, vec4<f32>(1.0)), thread));
  }
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
#if INPUT != "plain"
      let factor = factor_at(2u * k);
      let other_factor = factor_at(second);
#end
#for r in 0..ROWS
      var low_${r} = input_at(row_${r}, 2u * k, joined_${r});
      var high_${r} = select(vec4<f32>(0.0), input_at(row_${r}, second, joined_${r}), whole);
#if INPUT == "joined"
      if (tile == 0u) {
        sum[p.sum_at + row_${r} * p.sum_pitch + 2u * k] = low_${r};
        if (whole) {
          sum[p.sum_at + row_${r} * p.sum_pitch + second] = high_${r};
        }
      }
#end
#if INPUT != "plain"
      square_${r} = fma(high_${r}, high_${r}, fma(low_${r}, low_${r}, square_${r}));
      low_${r} *= factor;
      high_${r} *= other_factor;
#end
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
#if INPUT != "plain"
  squares[${r}u * THREADS + thread] = dot(square_${r}, vec4<f32>(1.0));
#end
#for n in 0..TILE_COLS
  sums[${r * TILE_COLS + n}u * THREADS + thread] = dot(total_${r}_${n}, vec4<f32>(1.0));
#end
#end
  workgroupBarrier();
  if (thread < ${ROWS * TILE_COLS / 4}u) {
    let row = thread / (TILE_COLS / 4u);
    var product = vec4<f32>(0.0);
#if INPUT != "plain"
    var square = 0.0;
#end
    for (var t = 0u; t < THREADS; t++) {
      let at = thread * 4u * THREADS + t;
      product += vec4<f32>(sums[at], sums[at + THREADS], sums[at + 2u * THREADS], sums[at + 3u * THREADS]);
#if INPUT != "plain"
      square += squares[row * THREADS + t];
#end
    }
#if INPUT != "plain"
    product *= root(square);
#end
    store(workgroup.x * ROWS + row, col + thread % (TILE_COLS / 4u) * 4u, product);
  }
}
