// y = scale · x Wᵀ (+ bias) (+ residual) for few rows of x, where one subgroup is a workgroup: each lane owns a column
// of y, a row of W; gemv-operands.wgsl says what x may be. All lanes need the same x at the same time: each loads another
// vector, and they pass them around, because on a software GPU every lane of a load costs, even when all read the same
// address.
enable subgroups;

#include gemv_operands
#if GATED
#include activate
#end
#if INPUT != "joined"
@group(0) @binding(3) var<storage, read> bias: array<f32>;
#end
#if INPUT == "plain"
@group(0) @binding(4) var<storage, read> residual: array<f32>;
#end
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

const LANES = ${LANES}u;
const SUM_BLOCK = 128u; // groups of 8: each of the four partial sums takes at most 256 terms

// What lies between the last column and the next multiple of 4 is padding, and zero. With a gate the upper lanes have the
// second half's products of the lower ones' columns.
fn store(row: u32, col: u32, lane: u32, product: f32) {
  var value = p.scale * product;
#if INPUT != "joined"
  if ((p.flags & HAS_BIAS) != 0u) {
#if GATED
    value += bias[4u * p.bias_at + min(col, p.cols - 1u) + select(p.cols, 0u, lane < LANES / 2u)];
#else
    value += bias[4u * p.bias_at + col];
#end
  }
#end
#if GATED
  let second = subgroupShuffle(value, (lane + LANES / 2u) % LANES);
  value = activate(p.gate, vec4<f32>(value)).x * second;
  if (lane >= LANES / 2u || col >= p.cols) {
    return;
  }
#else
  if (col >= (p.cols + 3u) / 4u * 4u) {
    return;
  }
#end
#if INPUT == "plain"
  if ((p.flags & HAS_RESIDUAL) != 0u) {
    value += residual[4u * (p.residual_at + row * p.residual_pitch) + col];
  }
#end
  y[4u * (p.y_at + row * p.y_pitch) + col] = select(0.0, value, col < p.cols);
}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let tile = workgroup.y * p.workgroups_x + workgroup.x;
#if GATED
  let col = tile * (LANES / 2u) + lane % (LANES / 2u);
  let w_row = p.w_at + (min(col, p.cols - 1u) + select(p.cols, 0u, lane < LANES / 2u)) * p.w_pitch;
#else
  let col = tile * LANES + lane;
  let w_row = p.w_at + min(col, p.cols - 1u) * p.w_pitch;
#end
#for r in 0..ROWS
  var joined_${r} = 0.0;
  var total_${r} = vec4<f32>(0.0);
#if INPUT != "plain"
  var square_${r} = vec4<f32>(0.0);
#end
#end
#if INPUT == "joined"
#for r in 0..ROWS
  {
    var all = vec4<f32>(0.0);
    for (var c = lane; c < p.x_width; c += LANES) {
      let value = branch[p.branch_at + ${r}u * p.branch_pitch + c];
      all = fma(value, value, all);
    }
    joined_${r} = root(subgroupAdd(dot(all, vec4<f32>(1.0))));
  }
#end
#end
  for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for r in 0..ROWS
    var part_${r} = vec4<f32>(0.0);
#end
    let block_end = min(block + SUM_BLOCK, p.terms);
    for (var k = block; k < block_end; k += LANES / 2u) {
      let own = 2u * k + lane;
      let inside = own < min(2u * block_end, p.x_width);
      let at = min(own, p.x_width - 1u);
#if INPUT != "plain"
      let factor = factor_at(at);
#end
#for r in 0..ROWS
      var x_${r} = select(vec4<f32>(0.0), input_at(${r}u, at, joined_${r}), inside);
#if INPUT == "joined"
      if (tile == 0u && inside) {
        sum[p.sum_at + ${r}u * p.sum_pitch + at] = x_${r};
      }
#end
#if INPUT != "plain"
      square_${r} = fma(x_${r}, x_${r}, square_${r});
      x_${r} *= factor;
#end
#end
      // Not unrolled: the loads are so much code that copies of them no longer fit into the instruction cache.
      for (var i = 0u; i < LANES / 2u; i++) {
        let group = min(k + i, p.terms - 1u); // x is zero from here on
        let eight = load8(w_row, group);
#for r in 0..ROWS
        part_${r} = fma(subgroupShuffle(x_${r}, 2u * i), eight.first, part_${r});
        part_${r} = fma(subgroupShuffle(x_${r}, 2u * i + 1u), eight.second, part_${r});
#end
      }
    }
#for r in 0..ROWS
    total_${r} += part_${r};
#end
  }
#for r in 0..ROWS
#if INPUT == "plain"
  store(${r}u, col, lane, dot(total_${r}, vec4<f32>(1.0)));
#else
  store(${r}u, col, lane, dot(total_${r}, vec4<f32>(1.0)) * root(subgroupAdd(dot(square_${r}, vec4<f32>(1.0)))));
#end
#end
}
