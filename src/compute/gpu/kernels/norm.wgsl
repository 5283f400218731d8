// The global norm of all gradients, in two stages. `squares`: each workgroup sums the squares of its share of a chunk.
// `norm`: one workgroup adds the partial sums and decides what clipping multiplies by. No sum has more than 256 terms,
// and the order is always the same.

#include parameters

#if STAGE == "squares"
@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
#else
@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<u32>;

#include step_state
#end

#include reduce

const THREADS = ${THREADS}u;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
#if STAGE == "squares"
  let index = workgroup.y * p.per_row + workgroup.x;
  let begin = index * THREADS * ${VECTORS}u;
  var sum = 0.0;
  for (var i = 0u; i < ${VECTORS}u; i++) {
    let at = begin + i * THREADS + thread;
    if (at < p.vectors) {
      let g = gradient[at];
      sum += dot(g, g);
    }
  }
  let all = sum_of_all(sum, thread);
  if (thread == 0u && begin < p.vectors) {
    partial[p.first + index] = all;
  }
#else
  var sum = 0.0;
  for (var begin = thread; begin < p.count; begin += THREADS * 256u) {
    var block = 0.0;
    for (var i = 0u; i < 256u; i++) {
      let at = begin + i * THREADS;
      if (at < p.count) {
        block += partial[at];
      }
    }
    sum += block;
  }
  let norm = sqrt(sum_of_all(sum, thread));
  if (thread == 0u) {
    state[NORM] = bitcast<u32>(norm);
    var coefficient = 1.0;
    if (p.clip > 0.0) {
      coefficient = min(1.0, p.clip / (norm + 1e-6)); // torch.nn.utils.clip_grad_norm_
    }
    state[COEFFICIENT] = bitcast<u32>(coefficient);
    if (!is_finite(state[LOSS]) || !is_finite(bitcast<u32>(norm))) {
      state[HALTED] = 1u;
    }
  }
#end
}
