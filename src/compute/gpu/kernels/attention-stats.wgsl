// What the gradients of attention need of each pair of a token and a head: stats[head · tokens + token] is
//
//   x      the logarithm of the sum of its exponentiated scores
//   y      dy · y, which the softmax's derivative takes off dy · value, less the gradient of x
//   z, w   the first and the last key that it sees, exact below 2^24
#include parameters

const HAS_FIRSTS = 1u;
const HAS_LASTS = 2u;
const HAS_DSUMS = 4u;

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> sums: array<f32>;
@group(0) @binding(4) var<storage, read> dsums: array<f32>;
@group(0) @binding(5) var<storage, read> firsts: array<u32>;
@group(0) @binding(6) var<storage, read> lasts: array<u32>;
@group(0) @binding(7) var<storage, read_write> stats: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let token = id.x;
  let head = id.y;
  if (token >= p.tokens) {
    return;
  }
  var offset = vec4<f32>(0.0);
  for (var d = head * p.head; d < (head + 1u) * p.head; d++) {
    offset = fma(y[p.y_at + token * p.y_pitch + d], dy[p.dy_at + token * p.dy_pitch + d], offset);
  }
  var gradient = 0.0;
  if ((p.flags & HAS_DSUMS) != 0u) {
    gradient = dsums[p.dsums_at + token * p.dsums_pitch + head];
  }
  var last = p.first_position + token;
  if ((p.flags & HAS_LASTS) != 0u) {
    last = lasts[p.lasts_at + token];
  }
  var first = select(0u, last + 1u - p.window, last + 1u > p.window);
  if ((p.flags & HAS_FIRSTS) != 0u) {
    first = max(first, firsts[p.firsts_at + token]);
  }
  let log_sum = sums[p.sums_at + token * p.sums_pitch + head];
  let rest = dot(offset, vec4<f32>(1.0)) - gradient;
  stats[head * p.tokens + token] = vec4<f32>(log_sum, rest, f32(first), f32(last));
}
