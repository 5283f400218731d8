// y = (x − mean) / √(variance + ε) · weight + bias, row by row.

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

#include reduce
#include row_statistics

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let source = p.x_at + workgroup.x * p.x_pitch;
  let to = p.y_at + workgroup.x * p.y_pitch;
  let statistics = row_statistics(source, thread);
  for (var c = thread; c < p.width; c += THREADS) {
    // Weight and bias are zero beyond the last element, and so is y.
    var value = (x[source + c] - statistics.x) * statistics.y * weight[p.weight_at + c];
    if (p.has_bias == 1u) {
      value += bias[p.bias_at + c];
    }
    y[to + c] = value;
  }
}
