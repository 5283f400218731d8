// Rotates the heads of q and k by their positions' angles and copies v (half rotation: element i turns with i + dims/2).
// One thread handles one vector of 4 of one row; the three outputs may be rows of a cache.
#include rope_operands
@group(0) @binding(6) var<storage, read_write> q_out: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> k_out: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> v_out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.y;
  var c = id.x;
  if (c >= p.q_width + p.k_width) {
    c -= p.q_width + p.k_width;
    if (c < p.v_width) {
      v_out[p.v_to_at + row * p.v_to_pitch + c] = v[p.v_at + row * p.v_pitch + c];
    }
    return;
  }
  let is_q = c < p.q_width;
  if (!is_q) {
    c -= p.q_width;
  }
  let source = select(p.k_at + row * p.k_pitch, p.q_at + row * p.q_pitch, is_q) + c;
  let result = turned(is_q, source, c % p.head, row, 1.0);
  if (is_q) {
    q_out[p.q_to_at + row * p.q_to_pitch + c] = result;
  } else {
    k_out[p.k_to_at + row * p.k_to_pitch + c] = result;
  }
}
