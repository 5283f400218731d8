// Rows of vectors set to one value. Rows are counted over y and z, because a table has more than one axis may hold.
#include parameters

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
