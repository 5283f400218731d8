// The gradient of rope.wgsl: heads turn back by the angle, and what was copied is copied. One thread handles one vector
// of 4 of one row. The results are regions of one buffer, as q, k and v of a joined projection are.
#include rope_operands
@group(0) @binding(6) var<storage, read_write> result: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.y;
  var c = id.x;
  if (c >= p.q_width + p.k_width) {
    c -= p.q_width + p.k_width;
    if (c < p.v_width) {
      result[p.v_to_at + row * p.v_to_pitch + c] = v[p.v_at + row * p.v_pitch + c];
    }
    return;
  }
  let is_q = c < p.q_width;
  if (!is_q) {
    c -= p.q_width;
  }
  let source = select(p.k_at + row * p.k_pitch, p.q_at + row * p.q_pitch, is_q) + c;
  let to = select(p.k_to_at + row * p.k_to_pitch, p.q_to_at + row * p.q_to_pitch, is_q) + c;
  result[to] = turned(is_q, source, c % p.head, row, -1.0);
}
