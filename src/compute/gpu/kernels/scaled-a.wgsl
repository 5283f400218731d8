// Ŝ[q, c] = λ[k, j] · A[k, c] · γ[j, c] in f32, for the orders that multiply with it.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lambda: array<f32>;
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> s: array<vec4<f32>>;

#include pairing

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.width) {
    return;
  }
  let q = id.y;
  let k = rank_of(q);
  let j = basis_of(q);
  let product = lambda[p.lambda_at + k * p.lambda_pitch + j]
    * (a[k * p.a_pitch + id.x] * gamma[p.gamma_at + j * p.gamma_pitch + id.x]);
  // A may be wider than this module, so its padding is not zero.
  let inside = vec4<u32>(id.x * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
  s[q * p.width + id.x] = select(vec4<f32>(0.0), product, inside);
}
