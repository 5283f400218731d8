// y = x · scale + bias + residual: each column of x has a factor of its own.
#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> scale: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.width) {
    return;
  }
  var value = x[p.x_at + id.y * p.x_pitch + id.x] * scale[p.scale_at + id.x];
  if ((p.flags & HAS_BIAS) != 0u) {
    value += bias[p.bias_at + id.x];
  }
  if ((p.flags & HAS_RESIDUAL) != 0u) {
    value += residual[p.residual_at + id.y * p.residual_pitch + id.x];
  }
  y[p.y_at + id.y * p.y_pitch + id.x] = value;
}
