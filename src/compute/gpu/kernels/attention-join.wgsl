// Joins what tiles of keys came to, which attention.wgsl has left as records: y = Σ parts / Σ sums, each scaled to the largest
// score of all. As it is done there tile by tile, to the last bit: so a device may choose. A workgroup has one token and head.

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> records: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
#if EXTRAS
@group(0) @binding(3) var<storage, read> firsts: array<u32>;
@group(0) @binding(4) var<storage, read> lasts: array<u32>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;
#end

#include attention_sight

const HEAD = ${HEAD_VECTORS}u; // vectors of 4

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let head = workgroup.x;
  let token = workgroup.y;
  if (thread >= HEAD) {
    return;
  }
  let last = last_key(token) / TILE_KEYS;
  var top = NEVER;
  var sum = 0.0;
  var out = vec4<f32>(0.0);
  for (var tile = first_key(token) / TILE_KEYS; tile <= last; tile++) {
    let record = record_of(token, head, tile);
    let here = records[record];
    let most = max(top, here.x);
    let shrink = exp(top - most);
    let grow = exp(here.x - most);
    sum = fma(here.y, grow, sum * shrink);
    out = fma(records[record + 1u + thread], vec4<f32>(grow), out * shrink);
    top = most;
  }
  y[p.y_at + token * p.y_pitch + head * HEAD + thread] = out / sum;
#if EXTRAS
  if (thread == 0u) {
    store_sum(token, head, top + log(sum));
  }
#end
}
