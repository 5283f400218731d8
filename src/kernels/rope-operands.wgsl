// What rope.wgsl and its gradient take: parameters, q, k and v (or their gradients), and the angles.
struct Parameters {
  head: u32, // vectors of 4 in a head
  half: u32, // in half of its rotated part
  q_width: u32, // in a row of q, of k, of v; 0 in the gradient: that one is not wanted
  k_width: u32,
  v_width: u32,
  angle_at: u32, // of cos and sin, alike
  angle_pitch: u32,
  pad: u32,
  // vectors before the first element, and from row to row
  q_at: u32,
  q_pitch: u32,
  k_at: u32,
  k_pitch: u32,
  v_at: u32,
  v_pitch: u32,
  q_to: u32,
  q_to_pitch: u32,
  k_to: u32,
  k_to_pitch: u32,
  v_to: u32,
  v_to_pitch: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> cosine: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> sine: array<vec4<f32>>;
