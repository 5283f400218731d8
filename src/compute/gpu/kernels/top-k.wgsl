// The k largest of each chunk of a row, largest first; of equal values the lower id first. Further dispatches over the
// chunks' results give the row's. Each rank is a maximum over what comes after the rank before it, so nothing is marked.

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> values: array<u32>; // bits of f32: a comparison of floats would not find NaN
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> out_values: array<f32>;
@group(0) @binding(4) var<storage, read_write> out_ids: array<u32>;

const THREADS = ${THREADS}u;
const MOST = 3.4028234e38;
const NEVER = -MOST;
const NOBODY = 0xffffffffu;

var<workgroup> found: array<vec2<u32>, ${THREADS}>; // bits of a value, and its id

// A value within what can be compared; NaN is more than any number.
fn value_of(row: u32, index: u32) -> f32 {
  let bits = values[p.values_at + row * p.values_pitch + index];
  return select(clamp(bitcast<f32>(bits), NEVER, MOST), MOST, (bits & 0x7fffffffu) > 0x7f800000u);
}

fn id_of(row: u32, index: u32) -> u32 {
  if (p.from_ids == 1u) {
    return ids[p.ids_at + row * p.ids_pitch + index];
  }
  return index;
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.y;
  let begin = workgroup.x * p.chunk;
  let end = min(begin + p.chunk, p.count);
  var last = MOST; // the rank before: everything comes after this
  var last_id = 0u;
  for (var rank = 0u; rank < p.k; rank++) {
    var best = NEVER;
    var best_id = NOBODY;
    for (var index = begin + thread; index < end; index += THREADS) {
      let value = value_of(row, index);
      // Most candidates lose against the thread's best by value alone; only the others need their id.
      if (value >= best && value <= last) {
        let id = id_of(row, index);
        let after = rank == 0u || value < last || id > last_id;
        if (after && id != NOBODY && (value > best || id < best_id)) {
          best = value;
          best_id = id;
        }
      }
    }
    found[thread] = vec2<u32>(bitcast<u32>(best), best_id);
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
      workgroupBarrier();
      if (thread < half) {
        let other = found[thread + half];
        let value = bitcast<f32>(other.x);
        if (value > best || (value == best && other.y < best_id)) {
          best = value;
          best_id = other.y;
          found[thread] = other;
        }
      }
    }
    let top = workgroupUniformLoad(&found[0]);
    last = bitcast<f32>(top.x);
    last_id = top.y;
    if (thread == 0u) {
      let to = workgroup.x * p.k + rank;
      out_values[p.out_values_at + row * p.out_values_pitch + to] = last;
      out_ids[p.out_ids_at + row * p.out_ids_pitch + to] = last_id;
    }
  }
}
