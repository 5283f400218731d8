// The gated delta rule: an invocation walks the tokens of a text with a column of a head's state, VECTORS vectors of 4 numbers.
#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> qk: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> gates: array<f32>;
@group(0) @binding(4) var<storage, read> decays: array<f32>;
@group(0) @binding(5) var<storage, read> firsts: array<u32>;
@group(0) @binding(6) var<storage, read> rows: array<u32>;
@group(0) @binding(7) var<storage, read_write> states: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> y: array<f32>;

#include gates

fn begin_of(token: u32) -> u32 {
  if ((p.flags & HAS_FIRSTS) == 0u) {
    return 0u;
  }
  return firsts[p.firsts_at + token];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.value_size) {
    return;
  }
  let head = id.y;
  let text = id.z;
  let column = head * p.value_size + id.x;
  var begin = p.first_position;
  if ((p.flags & HAS_ROWS) != 0u) {
    begin = rows[p.rows_at + text];
  }
  var state: array<vec4<f32>, ${VECTORS}>;
  if (begin != begin_of(text)) {
    let source = p.states_at + (begin - 1u) / p.block * p.states_pitch + column * ${VECTORS}u;
    for (var i = 0u; i < ${VECTORS}u; i++) {
      state[i] = states[source + i];
    }
  }
  for (var at = 0u; at < p.tokens; at++) {
    let token = text + at;
    let row = begin + at;
    var left = left_of(token, head);
    if (row == begin_of(token)) {
      // Nothing is known of a text that begins, whatever a state holds.
      for (var i = 0u; i < ${VECTORS}u; i++) {
        state[i] = vec4<f32>(0.0);
      }
    }
    let query = p.qk_at + token * p.qk_pitch + head / (p.heads / p.key_heads) * ${VECTORS}u;
    let key = query + p.key_heads * ${VECTORS}u;
    var known = vec4<f32>(0.0);
    for (var i = 0u; i < ${VECTORS}u; i++) {
      known += state[i] * qk[key + i];
    }
    let rest = v[p.v_at + token * p.v_pitch + column] - left * (known.x + known.y + known.z + known.w);
    let by = beta_of(token, head) * rest;
    var sum = vec4<f32>(0.0);
    for (var i = 0u; i < ${VECTORS}u; i++) {
      state[i] = left * state[i] + by * qk[key + i];
      sum += state[i] * qk[query + i];
    }
    y[p.y_at + token * p.y_pitch + column] = p.query_scale * (sum.x + sum.y + sum.z + sum.w);
    if ((p.flags & HAS_STATES) != 0u && (at + 1u == p.tokens || (row + 1u) % p.block == 0u)) {
      let to = p.states_at + row / p.block * p.states_pitch + column * ${VECTORS}u;
      for (var i = 0u; i < ${VECTORS}u; i++) {
        states[to + i] = state[i];
      }
    }
  }
}
