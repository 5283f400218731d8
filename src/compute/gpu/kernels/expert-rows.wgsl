// Rows for pairs of a token and an expert, ordered by expert and then by token. A workgroup finds those of one expert: each thread
// counts in a part of the pairs, then writes the places of its own. Nothing is atomic, and nothing depends on who is first.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> places: array<u32>;
@group(0) @binding(3) var<storage, read_write> begins: array<u32>;

const THREADS = ${THREADS}u;

var<workgroup> lower: array<u32, ${THREADS}>; // pairs of experts before this one, by thread
var<workgroup> equal: array<u32, ${THREADS}>; // pairs of this one

fn id_of(pair: u32) -> u32 {
  return min(ids[p.ids_at + pair / p.chosen * p.ids_pitch + pair % p.chosen], p.experts - 1u);
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let expert = workgroup.x;
  let each = (p.pairs + THREADS - 1u) / THREADS;
  let first = min(thread * each, p.pairs);
  let last = min(first + each, p.pairs);
  var before = 0u;
  var own = 0u;
  for (var pair = first; pair < last; pair++) {
    let id = id_of(pair);
    before += u32(id < expert);
    own += u32(id == expert);
  }
  lower[thread] = before;
  equal[thread] = own;
  workgroupBarrier();
  var begin = 0u;
  var row = 0u;
  for (var t = 0u; t < THREADS; t++) {
    begin += lower[t];
    row += select(0u, equal[t], t < thread);
  }
  row += begin;
  for (var pair = first; pair < last; pair++) {
    if (id_of(pair) == expert) {
      places[p.places_at + pair / p.chosen * p.places_pitch + pair % p.chosen] = row;
      row++;
    }
  }
  if (thread == 0u) {
    begins[p.begins_at + expert] = begin;
    if (expert == p.experts - 1u) {
      begins[p.begins_at + p.experts] = p.pairs;
    }
  }
}
