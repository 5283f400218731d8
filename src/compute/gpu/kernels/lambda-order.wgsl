// λ (r, n) in the order of B̂'s columns, zeros behind it: what delta.wgsl reads, four at a time.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> lambda: array<f32>;
@group(0) @binding(2) var<storage, read_write> ordered: array<f32>;

#include pairing

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let q = id.x;
  if (q >= p.padded) {
    return;
  }
  if (q < p.terms) {
    ordered[q] = lambda[p.at + rank_of(q) * p.pitch + basis_of(q)];
  } else {
    ordered[q] = 0.0;
  }
}
