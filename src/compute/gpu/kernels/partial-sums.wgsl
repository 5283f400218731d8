// target[i, j] += scale · Σ_s partial[s, i, j], in a fixed order: how partial sums of several workgroups join what
// earlier micro-batches left. Strides let the partial sums lie in another order than the target.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> target_: array<f32>;

const SUM_BLOCK = 256u; // as in every sum: long ones lose no more than short ones

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.cols) {
    return;
  }
  let first = id.y * p.row_stride + id.x * p.col_stride;
  var total = 0.0;
  for (var block = 0u; block < p.parts; block += SUM_BLOCK) {
    var sum = 0.0;
    for (var part = block; part < min(block + SUM_BLOCK, p.parts); part++) {
      sum += partial[first + part * p.part_stride];
    }
    total += sum;
  }
  target_[p.target_at + id.y * p.target_pitch + id.x] += p.scale * total;
}
