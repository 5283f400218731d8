// sums[slot] += weight · Σ losses (= where it is the first), in sums of at most 256 terms; one workgroup.

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> losses: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

#include reduce

const THREADS = ${THREADS}u;

@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_index) thread: u32) {
  var sum = 0.0;
  for (var begin = thread; begin < p.count; begin += THREADS * 256u) {
    var block = 0.0;
    for (var i = 0u; i < 256u; i++) {
      let index = begin + i * THREADS;
      if (index < p.count) {
        block += losses[p.at + index * p.pitch];
      }
    }
    sum += block;
  }
  let all = p.weight * sum_of_all(sum, thread);
  if (thread == 0u) {
    if (p.is_first == 1u) {
      sums[p.slot] = all;
    } else {
      sums[p.slot] += all;
    }
  }
}
