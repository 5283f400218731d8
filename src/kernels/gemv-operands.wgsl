// What both forms of the vector path take: their parameters, x, and W as stored.
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
}

const HAS_BIAS = 1u;
const HAS_RESIDUAL = 2u;

#include matrix8

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stored: array<Stored>; // W
#if DTYPE == "Q8_0" || DTYPE == "Q4_0"
@group(0) @binding(6) var<storage, read> scales: array<u32>;
#end
