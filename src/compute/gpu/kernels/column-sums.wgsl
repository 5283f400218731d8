// y[block, c] = Σ of a[t, c], or of a[t, c] · b[t, c], over the rows t of a block. A row may consist of
// segments, which are then rows of their own. One thread handles one vector of 4 columns of one block.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.width) {
    return;
  }
  let first = id.y * p.block;
  let end = min(first + p.block, p.rows);
  var sum = vec4<f32>(0.0);
  if (p.product != 0u) {
    for (var t = first; t < end; t++) {
      let row = t / p.segments;
      let c = (t % p.segments) * p.width + id.x;
      sum = fma(a[p.a_at + row * p.a_pitch + c], b[p.b_at + row * p.b_pitch + c], sum);
    }
  } else {
    for (var t = first; t < end; t++) {
      sum += a[p.a_at + t / p.segments * p.a_pitch + (t % p.segments) * p.width + id.x];
    }
  }
  y[p.y_at + id.y * p.y_pitch + id.x] = sum;
}
