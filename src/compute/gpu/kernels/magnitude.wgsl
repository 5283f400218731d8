// What DoRA's magnitude m is to the norms n of the rows of W + ΔW, one number a row: n = √s, and c = m / n is what a row
// is multiplied by. A row of zeros stays one.
#include dtype

#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> from_: array<f32>;
@group(0) @binding(3) var<storage, read_write> to: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  if (i >= p.count) {
    return;
  }
  let norm = sqrt(sums[p.sums_at + i]);
  let at = p.to_at + i;
  if (p.kind == NORM) {
    if (p.dtype == BF16) {
      to[at] = widen_bf16(round_bf16(norm));
    } else if (p.dtype == F16) {
      to[at] = widen_f16(round_f16(norm));
    } else {
      to[at] = norm;
    }
    return;
  }
  let quotient = select(from_[p.from_at + i] / norm, 0.0, norm == 0.0);
  if (p.kind == FACTOR) {
    to[at] = quotient;
  } else {
    to[at] += quotient;
    from_[p.from_at + i] = 0.0;
  }
}
