// The first half of a block's gradients: an invocation walks the block with a column of a head's state, forwards and backwards, and leaves
// in the scratch the state before each token, the gradient by the state behind it, and what it made of both.
#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> qk: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> gates: array<f32>;
@group(0) @binding(4) var<storage, read> decays: array<f32>;
@group(0) @binding(5) var<storage, read> firsts: array<u32>;
@group(0) @binding(6) var<storage, read> states: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> dy: array<f32>;
@group(0) @binding(8) var<storage, read_write> scratch: array<vec4<f32>>;

#include gates

fn is_first(token: u32) -> bool {
  if ((p.flags & HAS_FIRSTS) == 0u) {
    return token == 0u;
  }
  return token == firsts[p.firsts_at + token];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.value_size) {
    return;
  }
  let head = id.y;
  let column = head * p.value_size + id.x;
  let columns = p.heads * p.value_size;
  let query_head = head / (p.heads / p.key_heads) * ${VECTORS}u;
  var state: array<vec4<f32>, ${VECTORS}>;
  if (p.begin > 0u) {
    let source = p.states_at + (p.begin / p.block - 1u) * p.states_pitch + column * ${VECTORS}u;
    for (var i = 0u; i < ${VECTORS}u; i++) {
      state[i] = states[source + i];
    }
  }
  for (var at = 0u; at < p.tokens; at++) {
    let token = p.begin + at;
    let key = p.qk_at + token * p.qk_pitch + query_head + p.key_heads * ${VECTORS}u;
    let to = (at * columns + column) * ${VECTORS}u;
    let is_new = is_first(token);
    var known = vec4<f32>(0.0);
    for (var i = 0u; i < ${VECTORS}u; i++) {
      if (is_new) {
        state[i] = vec4<f32>(0.0);
      }
      scratch[to + i] = state[i];
      known += state[i] * qk[key + i];
    }
    let left = left_of(token, head);
    let rest = v[p.v_at + token * p.v_pitch + column] - left * (known.x + known.y + known.z + known.w);
    let by = beta_of(token, head) * rest;
    for (var i = 0u; i < ${VECTORS}u; i++) {
      state[i] = left * state[i] + by * qk[key + i];
    }
    scratch[p.numbers_at + at * columns + column] = vec4<f32>(by, rest, 0.0, 0.0);
  }
  var slope: array<vec4<f32>, ${VECTORS}>;
  if (p.is_last == 0u) {
    for (var i = 0u; i < ${VECTORS}u; i++) {
      slope[i] = scratch[p.carry_at + column * ${VECTORS}u + i];
    }
  }
  for (var at = p.tokens; at > 0u; at--) {
    let token = p.begin + at - 1u;
    let query = p.qk_at + token * p.qk_pitch + query_head;
    let key = query + p.key_heads * ${VECTORS}u;
    let before = ((at - 1u) * columns + column) * ${VECTORS}u;
    let out = p.query_scale * dy[p.dy_at + token * p.dy_pitch + column];
    var product = vec4<f32>(0.0);
    for (var i = 0u; i < ${VECTORS}u; i++) {
      slope[i] += out * qk[query + i];
      scratch[p.slopes_at + before + i] = slope[i];
      product += slope[i] * qk[key + i];
    }
    let by = product.x + product.y + product.z + product.w;
    let dv = beta_of(token, head) * by;
    let left = left_of(token, head);
    var keep = left;
    if (is_first(token)) {
      keep = 0.0;
    }
    var dleft = vec4<f32>(0.0);
    for (var i = 0u; i < ${VECTORS}u; i++) {
      let through = slope[i] - dv * qk[key + i];
      dleft += through * scratch[before + i];
      slope[i] = keep * through;
    }
    let number = p.numbers_at + (at - 1u) * columns + column;
    let added = scratch[number];
    scratch[number] = vec4<f32>(added.x, dv, by * added.y, dleft.x + dleft.y + dleft.z + dleft.w);
  }
  for (var i = 0u; i < ${VECTORS}u; i++) {
    scratch[p.carry_at + column * ${VECTORS}u + i] = slope[i];
  }
}
