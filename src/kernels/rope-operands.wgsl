// What rope.wgsl and its gradient take: parameters, q, k and v (or their gradients), and the angles.
struct Parameters {
  head: u32, // vectors of 4 in a head
  half: u32, // elements in half of its rotated part
  q_width: u32, // in a row of q, of k, of v; 0 in the gradient: that one is not wanted
  k_width: u32,
  v_width: u32,
  angle_at: u32, // of cos and sin, alike
  angle_pitch: u32,
  // vectors before the first element, and from row to row
  q_at: u32,
  q_pitch: u32,
  k_at: u32,
  k_pitch: u32,
  v_at: u32,
  v_pitch: u32,
  q_to_at: u32,
  q_to_pitch: u32,
  k_to_at: u32,
  k_to_pitch: u32,
  v_to_at: u32,
  v_to_pitch: u32,
  pad: u32,
}

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

// Vector `d` of a head, which stands at `source`, turned by the row's angles: forwards (1.0) or back (-1.0).
fn turned(is_q: bool, source: u32, d: u32, row: u32, direction: f32) -> vec4<f32> {
  var mine: vec4<f32>;
  if (is_q) { mine = q[source]; } else { mine = k[source]; }
  let angles = p.angle_at + row * p.angle_pitch;
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
    return mine * cosine[angle] + theirs * sine[angle] * select(direction, -direction, first);
  }
  for (var n = 0u; n < 4u; n++) {
    let i = 4u * d + n;
    if (i < 2u * p.half) {
      let first = i < p.half;
      let partner = 4u * source + n + select(0u - p.half, p.half, first);
      let angle = 4u * angles + select(i - p.half, i, first);
      let theirs = element_of(is_q, partner) * select(direction, -direction, first);
      mine[n] = mine[n] * cosine[angle / 4u][angle % 4u] + theirs * sine[angle / 4u][angle % 4u];
    }
  }
  return mine;
}
