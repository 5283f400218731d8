// Rows of vectors set to one value. Rows are counted over y and z, because a table has more than one axis may hold.
struct Parameters {
  rows: u32,
  width: u32, // vectors of 4 in a row
  y_at: u32, // vectors before the first element, and from row to row
  y_pitch: u32,
  value: f32,
  rows_y: u32, // workgroups along y
  pad0: u32,
  pad1: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.z * p.rows_y + id.y;
  if (id.x >= p.width || row >= p.rows) {
    return;
  }
  y[p.y_at + row * p.y_pitch + id.x] = vec4<f32>(p.value);
}
