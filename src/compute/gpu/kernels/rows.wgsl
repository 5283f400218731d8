// Rows by index, whatever the words of 32 bits are: y[i] = x[index[i]] (gather), or y[index[i]] = x[i] (scatter; no two indices may be equal).
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.width) {
    return;
  }
  let other = indices[p.index_at + id.y];
  let source = select(other, id.y, p.scatter == 1u);
  let to = select(id.y, other, p.scatter == 1u);
  y[p.y_at + to * p.y_pitch + id.x] = x[p.x_at + source * p.x_pitch + id.x];
}
