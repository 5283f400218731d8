// One block of columns of logits (tokens, vocabulary) becomes their gradient, in place: softmax · (dy + dlse) − dy at
// the target, times the soft cap's derivative.
#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read_write> logits: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read> lse: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> dlse: array<vec4<f32>>;

#include safe_tanh

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x * 4u >= p.cols) {
    return;
  }
  let row = id.y;
  var picked = 0.0;
  if ((p.flags & HAS_DY) != 0u) {
    picked = dy[p.dy_at + row * p.dy_pitch].x;
  }
  var all = picked;
  if ((p.flags & HAS_DLSE) != 0u) {
    all += dlse[p.dlse_at + row * p.dlse_pitch].x;
  }
  let at = p.logits_at + row * p.logits_pitch + id.x;
  var value = logits[at];
  var slope = vec4<f32>(1.0);
  if (p.cap != 0.0) {
    let bent = safe_tanh(value / p.cap);
    value = p.cap * bent;
    slope = 1.0 - bent * bent;
  }
  let columns = vec4<u32>(id.x * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
  let is_target = columns + p.first == vec4<u32>(targets[p.targets_at + row]);
  let softmax = exp(value - lse[p.lse_at + row * p.lse_pitch].x);
  let gradient = slope * (softmax * all - select(vec4<f32>(0.0), vec4<f32>(picked), is_target));
  logits[at] = select(vec4<f32>(0.0), gradient, columns < vec4<u32>(p.cols));
}
