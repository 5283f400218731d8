// y[row] = table[id[row]] · scale, for those ids whose rows are bound (a large table is bound in blocks of rows).
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
#include matrix, NAME = "table", BINDING = 1, SCALES = 4
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.width) {
    return;
  }
  let token = ids[p.ids_at + id.y];
  if (token < p.first || token >= p.first + p.count) {
    return;
  }
  var line = line_table(token - p.first);
  y[p.y_at + id.y * p.y_pitch + id.x] = p.scale * load4_table(&line, id.x);
}
