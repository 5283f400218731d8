// target = c · (W + target + Δ) − W, as (c − 1) · W + c · (target + Δ), which loses nothing to W where c is near 1. Each row
// of the adapted matrix has its c; where W is stored transposed, each column.

#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
#include matrix, NAME = "w", BINDING = 1, SCALES = 5
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> factors: array<f32>; // padded to whole vectors
@group(0) @binding(4) var<storage, read_write> target_: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.z * p.rows_y + id.y;
  if (id.x >= p.width || row >= p.rows) {
    return;
  }
  var c = vec4<f32>(factors[p.factors_at + select(row, 0u, (p.flags & COLUMNS) != 0u)]);
  if ((p.flags & COLUMNS) != 0u) {
    let at = id.x * 4u;
    c = vec4<f32>(factors[at], factors[at + 1u], factors[at + 2u], factors[at + 3u]);
  }
  let at = row * p.pitch + id.x;
  var change = target_[at];
  if ((p.flags & HAS_DELTA) != 0u) {
    change += delta[at];
  }
  var line = line_w(row);
  target_[at] = (c - 1.0) * load4_w(&line, id.x) + c * change;
}
