// One step of AdamW on flat arrays of numbers, as torch.optim.AdamW's _single_tensor_adam takes it, operation by
// operation. Gradients are scaled first (clipping) and zero afterwards: the next step adds to them.

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read_write> value: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> gradient: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> mean: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> square: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> state: array<u32>; // see step-state.wgsl

#include step_state

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let at = (workgroup.y * p.per_row + workgroup.x) * ${THREADS}u + thread;
  if (at >= p.vectors || state[HALTED] != 0u) {
    return;
  }
  let g = gradient[at] * bitcast<f32>(state[COEFFICIENT]);
  let old = mean[at];
  let m = old + p.mean_weight * (g - old);
  let v = square[at] * p.square_keep + (p.square_weight * g) * g;
  let denominator = sqrt(v) / p.correction + p.epsilon;
  value[at] = value[at] * p.keep - (p.step_size * m) / denominator;
  mean[at] = m;
  square[at] = v;
  gradient[at] = vec4<f32>(0.0);
}
