// Rotates the heads of q and k by their positions' angles and copies v (half rotation: element i turns with i + dims/2, or 2i with 2i + 1), into
// three outputs, which may be rows of a cache, or, with JOINED, into regions of one buffer, as q, k and v of a joined projection are; with BACK
// it turns their gradients back. One thread handles one vector of 4 of one row.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> cosine: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> sine: array<vec4<f32>>;

fn element_of(is_q: bool, at: u32) -> f32 {
  if (is_q) {
    return q[at / 4u][at % 4u];
  }
  return k[at / 4u][at % 4u];
}

// Vector `d` of a head, which stands at `source`, turned by the row's angles.
fn turned(is_q: bool, source: u32, d: u32, row: u32) -> vec4<f32> {
  var mine: vec4<f32>;
  if (is_q) { mine = q[source]; } else { mine = k[source]; }
  let angles = p.angle_at + row * p.angle_pitch;
  if (p.neighbors == 1u) { // pairs lie within a vector
    for (var n = 0u; n < 4u; n += 2u) {
      let angle = 4u * angles + 2u * d + n / 2u;
      if (4u * d + n < 2u * p.half) {
        let c = cosine[angle / 4u][angle % 4u];
        let s = sine[angle / 4u][angle % 4u] * DIRECTION;
        let first = mine[n];
        let second = mine[n + 1u];
        mine[n] = first * c - second * s;
        mine[n + 1u] = second * c + first * s;
      }
    }
    return mine;
  }
  if (p.half % 4u == 0u) { // whole vectors turn with whole vectors
    let half = p.half / 4u;
    if (d >= 2u * half) {
      return mine;
    }
    let first = d < half;
    let partner = select(source - half, source + half, first);
    let angle = angles + select(d - half, d, first);
    var theirs: vec4<f32>;
    if (is_q) { theirs = q[partner]; } else { theirs = k[partner]; }
    return mine * cosine[angle] + theirs * sine[angle] * select(DIRECTION, -DIRECTION, first);
  }
  for (var n = 0u; n < 4u; n++) {
    let i = 4u * d + n;
    if (i < 2u * p.half) {
      let first = i < p.half;
      let partner = 4u * source + n + select(0u - p.half, p.half, first);
      let angle = 4u * angles + select(i - p.half, i, first);
      let theirs = element_of(is_q, partner) * select(DIRECTION, -DIRECTION, first);
      mine[n] = mine[n] * cosine[angle / 4u][angle % 4u] + theirs * sine[angle / 4u][angle % 4u];
    }
  }
  return mine;
}

#if BACK
const DIRECTION = -1.0;
#else
const DIRECTION = 1.0;
#end

#if JOINED
@group(0) @binding(6) var<storage, read_write> result: array<vec4<f32>>;
fn store_q(at: u32, value: vec4<f32>) { result[at] = value; }
fn store_k(at: u32, value: vec4<f32>) { result[at] = value; }
fn store_v(at: u32, value: vec4<f32>) { result[at] = value; }
#else
@group(0) @binding(6) var<storage, read_write> q_out: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> k_out: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> v_out: array<vec4<f32>>;
fn store_q(at: u32, value: vec4<f32>) { q_out[at] = value; }
fn store_k(at: u32, value: vec4<f32>) { k_out[at] = value; }
fn store_v(at: u32, value: vec4<f32>) { v_out[at] = value; }
#end

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.y;
  var c = id.x;
  if (c >= p.q_width + p.k_width) {
    c -= p.q_width + p.k_width;
    if (c < p.v_width) {
      store_v(p.v_to_at + row * p.v_to_pitch + c, v[p.v_at + row * p.v_pitch + c]);
    }
    return;
  }
  let is_q = c < p.q_width;
  if (!is_q) {
    c -= p.q_width;
  }
  let source = select(p.k_at + row * p.k_pitch, p.q_at + row * p.q_pitch, is_q) + c;
  let result4 = turned(is_q, source, c % p.head, row);
  if (is_q) {
    store_q(p.q_to_at + row * p.q_to_pitch + c, result4);
  } else {
    store_k(p.k_to_at + row * p.k_to_pitch + c, result4);
  }
}
