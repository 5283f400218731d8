// Attention's results with a sink for each head, a score without a value: PASS "attend" takes it into what was computed without it; PASS
// "gradient" gives what each token adds to ∂loss/∂sink. A thread takes a token and a head.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> sinks: array<f32>;
#if PASS == "attend"
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
#else
@group(0) @binding(2) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> dlse: array<f32>;
@group(0) @binding(6) var<storage, read_write> parts: array<f32>;
#end

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let head = id.x;
  if (head >= p.heads) {
#if PASS == "gradient"
    if (head < (p.heads + 3u) / 4u * 4u) {
      parts[p.parts_at + id.y * p.parts_pitch + head] = 0.0;
    }
#end
    return;
  }
  let sink = sinks[p.sinks_at + head];
  let at = p.lse_at + id.y * p.lse_pitch + head;
  let first = p.y_at + id.y * p.y_pitch + head * p.head;
#if PASS == "attend"
  let before = lse[at];
  let sum = max(before, sink) + log(1.0 + exp(-abs(before - sink)));
  let share = exp(before - sum);
  for (var d = 0u; d < p.head; d++) {
    y[first + d] *= share;
  }
  lse[at] = sum;
#else
  var products = vec4<f32>(0.0);
  for (var d = 0u; d < p.head; d++) {
    products = fma(y[first + d], dy[p.dy_at + id.y * p.dy_pitch + head * p.head + d], products);
  }
  var rest = -dot(products, vec4<f32>(1.0));
  if (p.has_dlse == 1u) {
    rest += dlse[p.dlse_at + id.y * p.dlse_pitch + head];
  }
  parts[p.parts_at + id.y * p.parts_pitch + head] = exp(sink - lse[at]) * rest;
#end
}
