// The second half of a block's gradients: an invocation sums up, over columns of states, what belongs to 4 numbers of a token's query and key;
// those of the first ones also what belongs to gates, and values.
#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> qk: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> gates: array<f32>;
@group(0) @binding(3) var<storage, read> decays: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read> scratch: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> dqk: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> dv: array<f32>;
@group(0) @binding(8) var<storage, read_write> dgates: array<f32>;

#include gates

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= ${VECTORS}u) {
    return;
  }
  let key_head = id.y;
  let token = p.begin + id.z;
  let columns = p.heads * p.value_size;
  let served = p.heads / p.key_heads;
  let at = key_head * ${VECTORS}u + id.x;
  let key = qk[p.qk_at + token * p.qk_pitch + p.key_heads * ${VECTORS}u + at];
  var dquery = vec4<f32>(0.0);
  var dkey = vec4<f32>(0.0);
  for (var head = key_head * served; head < (key_head + 1u) * served; head++) {
    let left = left_of(token, head);
    var query_sum = vec4<f32>(0.0);
    var key_sum = vec4<f32>(0.0);
    var gate_sum = vec2<f32>(0.0);
    for (var j = 0u; j < p.value_size; j++) {
      let column = head * p.value_size + j;
      let source = (id.z * columns + column) * ${VECTORS}u + id.x;
      let number = scratch[p.numbers_at + id.z * columns + column];
      let before = left * scratch[source];
      query_sum += dy[p.dy_at + token * p.dy_pitch + column] * (before + number.x * key);
      key_sum += number.x * scratch[p.slopes_at + source] - number.y * before;
      gate_sum += number.zw;
      if (id.x == 0u) {
        dv[p.dv_at + token * p.dv_pitch + column] = number.y;
      }
    }
    dquery += p.query_scale * query_sum;
    dkey += key_sum;
    if (id.x == 0u) {
      let beta = beta_of(token, head);
      let to = p.dgates_at + token * p.dgates_pitch + head;
      dgates[to] = gate_sum.x * beta * (1.0 - beta);
      dgates[to + p.heads] = -gate_sum.y * left * rate_of(head) / (1.0 + exp(-decay_input(token, head)));
    }
  }
  let to = p.dqk_at + token * p.dqk_pitch + at;
  dqk[to] = dquery;
  dqk[to + p.key_heads * ${VECTORS}u] = dkey;
  // What is behind the last one stays zero.
  if (id.x == 0u && key_head == 0u) {
    for (var pad = 2u * p.heads; pad % 4u != 0u; pad++) {
      dgates[p.dgates_at + token * p.dgates_pitch + pad] = 0.0;
    }
  }
}
