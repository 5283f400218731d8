// y = x in f32, for x stored as DTYPE; rows of vectors of 4.
#include matrix

struct Parameters {
  rows: u32,
  width: u32, // vectors of 4 in a row
  x_at: u32, // vectors before the first element, and from row to row
  x_pitch: u32,
  y_at: u32,
  y_pitch: u32,
  rows_y: u32, // rows of workgroups along y; the rest goes along z
  scales_at: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> stored: array<Stored>; // x
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
#if DTYPE == "Q8_0" || DTYPE == "Q4_0"
@group(0) @binding(3) var<storage, read> scales: array<u32>;
#end

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.z * p.rows_y + id.y;
  if (id.x >= p.width || row >= p.rows) {
    return;
  }
  y[p.y_at + row * p.y_pitch + id.x] = load4(p.x_at + row * p.x_pitch + id.x);
}
