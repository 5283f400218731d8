// What both forms of the vector path take: their parameters, x, and W as stored. INPUT says what is multiplied with W: what
// normed-input.wgsl has, where the first workgroup stores what a branch has joined, and NORMED is whether it is normalised;
// or what is "rounded" by rounded-rows.wgsl: its halves, 8 terms a vector.
// The root is known when all of x has been read, so sums are of x · (offset + weight), and are scaled at last.
// GATED: the rows of W behind the first `cols` are a second half, of the same columns of y = f(first) · second.
struct Parameters {
  cols: u32, // of this block of W's rows
  terms: u32, // groups of 8; in x, W and their padding
  x_width: u32, // vectors of 4 that a row of x has
  flags: u32,
  x_at: u32, // vectors of 4 before the first element, and from row to row
  x_pitch: u32,
  w_at: u32, // as `load8` counts
  w_pitch: u32,
  y_at: u32,
  y_pitch: u32,
  bias_at: u32,
  residual_at: u32,
  residual_pitch: u32,
  workgroups_x: u32,
  scale: f32,
  scales_at: u32,
  size: f32, // elements in a row of x
  offset: f32,
  epsilon: f32,
  gate: u32, // the activation f
  weight_at: u32,
  branch_weight_at: u32,
  branch_at: u32,
  branch_pitch: u32,
  sum_at: u32,
  sum_pitch: u32,
  x_scales_pitch: u32, // of what is rounded, scales from row to row
  pad: u32,
}

const HAS_BIAS = 1u;
const HAS_RESIDUAL = 2u;

#include matrix8

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(2) var<storage, read> stored: array<Stored>; // W
#if INPUT == "rounded"
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read> x_scales: array<f32>; // of 256 terms of a row

// Σ x · w of 8 terms, exactly.
fn dot8(halves: vec4<u32>, w: vec2<u32>) -> i32 {
  let high = dot4I8Packed(halves.x, w.x) + dot4I8Packed(halves.z, w.y);
  return 256 * high + dot4I8Packed(halves.y, w.x) + dot4I8Packed(halves.w, w.y);
}
#else
#include normed_input
#end
#if DTYPE == "Q8_0" || DTYPE == "Q4_0"
#if INPUT == "joined"
@group(0) @binding(8) var<storage, read> scales: array<u32>;
#else
@group(0) @binding(6) var<storage, read> scales: array<u32>;
#end
#end
