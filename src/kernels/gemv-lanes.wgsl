// y = scale · x Wᵀ (+ bias) (+ residual) for few rows of x, where one subgroup is a workgroup: each lane owns a column
// of y, a row of W. All lanes need the same x at the same time: each loads another vector, and they pass them around,
// because on a software GPU every lane of a load costs, even when all read the same address.
enable subgroups;

#include gemv_operands
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

const LANES = ${LANES}u;
const SUM_BLOCK = 128u; // groups of 8: each of the four partial sums takes at most 256 terms

// What lies between the last column and the next multiple of 4 is padding, and zero.
fn store(row: u32, col: u32, product: f32) {
  if (col >= (p.cols + 3u) / 4u * 4u) {
    return;
  }
  var value = p.scale * product;
  if ((p.flags & HAS_BIAS) != 0u) {
    value += bias[4u * p.bias_at + col];
  }
  if ((p.flags & HAS_RESIDUAL) != 0u) {
    value += residual[4u * (p.residual_at + row * p.residual_pitch) + col];
  }
  y[4u * (p.y_at + row * p.y_pitch) + col] = select(0.0, value, col < p.cols);
}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let col = (workgroup.y * p.workgroups_x + workgroup.x) * LANES + lane;
  let w_row = p.w_at + min(col, p.cols - 1u) * p.w_pitch;
#for r in 0..ROWS
  var total_${r} = vec4<f32>(0.0);
#end
  for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for r in 0..ROWS
    var part_${r} = vec4<f32>(0.0);
#end
    let block_end = min(block + SUM_BLOCK, p.terms);
    for (var k = block; k < block_end; k += LANES / 2u) {
      let own = 2u * k + lane;
      let inside = own < min(2u * block_end, p.x_width);
#for r in 0..ROWS
      let x_${r} = select(vec4<f32>(0.0), x[p.x_at + ${r}u * p.x_pitch + min(own, p.x_width - 1u)], inside);
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
  store(${r}u, col, dot(total_${r}, vec4<f32>(1.0)));
#end
}
