// y = x · scale where a bit is drawn for it, else 0 (+ y). Element (row, col) is kept when 16 bits of Philox reach the
// threshold: half col % 2 of word (col % 8) / 2 of philox4x32_10((col / 8, row, stream), key). src/compute/random/dropout.ts
// draws the same bits.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

#include philox

fn keep(row: u32, vector: u32, bits: vec4<u32>) {
  if (vector >= p.width) {
    return;
  }
  let to = p.y_at + row * p.y_pitch + vector;
  let value = x[p.x_at + row * p.x_pitch + vector] * p.scale;
  var kept = select(vec4<f32>(0.0), value, bits >= vec4<u32>(p.threshold));
  if (p.accumulate == 1u) {
    kept += y[to];
  }
  y[to] = kept;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x * 2u >= p.width) {
    return;
  }
  let words = philox4x32_10(vec4<u32>(id.x, id.y, p.stream), p.key);
  let low = words & vec4<u32>(0xffffu);
  let high = words >> vec4<u32>(16u);
  keep(id.y, id.x * 2u, vec4<u32>(low.x, high.x, low.y, high.y));
  keep(id.y, id.x * 2u + 1u, vec4<u32>(low.z, high.z, low.w, high.w));
}
