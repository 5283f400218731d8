// target = W + ΔW, rounded once to the target's dtype; and what that did. The tail of every merge, whatever the method. Rows
// of all three are `pitch` elements apart, a multiple of 4; what pads them becomes zero.

#include dtype

#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> weight: array<u32>;
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> target_: array<u32>;
@group(0) @binding(4) var<storage, read_write> statistics: array<vec4<f32>>; // per workgroup: max, Σx², changed, not finite

#include reduce

const THREADS = ${THREADS}u;

// Four neighbors of W at element `at`; `inside` marks those that exist.
fn finish(at: u32, sum: vec4<f32>, inside: vec4<bool>) -> vec4<f32> {
  var change = select(vec4<f32>(0.0), sum, inside);
  var old = vec4<f32>(0.0);
  if ((p.flags & HAS_WEIGHT) != 0u) {
    if (p.source_dtype == F32) {
      old = bitcast<vec4<f32>>(vec4<u32>(weight[at], weight[at + 1u], weight[at + 2u], weight[at + 3u]));
    } else {
      let words = vec2<u32>(weight[at / 2u], weight[at / 2u + 1u]);
      if (p.source_dtype == BF16) { old = widen4_bf16(words); } else { old = widen4_f16(words); }
    }
    old = select(vec4<f32>(0.0), old, inside);
  }
  // Three numbers go through the target's dtype: ΔW where that is asked for, W for comparison, their sum. A loop, so
  // that the conversions are compiled once.
  var words: vec2<u32>;
  var before: vec4<u32>;
  var after: vec4<u32>;
  for (var step = 0u; step < 3u; step++) {
    var value = change;
    if (step == 1u) { value = old; }
    if (step == 2u) {
      // Where nothing changes W stays, though some GPUs take subnormal numbers for zero when they add.
      let is_zero = (bitcast<vec4<u32>>(old) & vec4<u32>(0x7fffffffu)) == vec4<u32>(0u);
      value = select(old + change, old, (change == vec4<f32>(0.0)) & !is_zero);
    }
    if (p.target_dtype == BF16) {
      words = round4_bf16(value);
      value = widen4_bf16(words);
    } else if (p.target_dtype == F16) {
      words = round4_f16(value);
      value = widen4_f16(words);
    }
    if (step == 0u && (p.flags & ROUND_DELTA) != 0u) { change = value; }
    if (step == 1u) { before = bitcast<vec4<u32>>(value); }
    if (step == 2u) { after = bitcast<vec4<u32>>(value); }
  }
  if (p.target_dtype == F32) {
#for i in 0..4
    target_[at + ${i}u] = after[${i}];
#end
  } else {
    target_[at / 2u] = words.x;
    target_[at / 2u + 1u] = words.y;
  }
  let size = abs(change);
  let changed = select(vec4<f32>(0.0), vec4<f32>(1.0), before != after);
  let infinite = vec4<u32>(0x7f800000u);
  let broken = select(vec4<f32>(0.0), vec4<f32>(1.0), (after & infinite) == infinite);
  let one = vec4<f32>(1.0);
  return vec4<f32>(max(max(size.x, size.y), max(size.z, size.w)), dot(change, change), dot(changed, one), dot(broken, one));
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let index = workgroup.y * p.per_row + workgroup.x;
  let begin = index * THREADS * ${VECTORS}u;
  var found = vec4<f32>(0.0);
  for (var i = 0u; i < ${VECTORS}u; i++) {
    let at = begin + i * THREADS + thread;
    if (at < p.vectors) {
      let col = (at % p.width) * 4u;
      let element = (at / p.width) * p.pitch + col;
      let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
      let one = finish(element, delta[element / 4u], inside);
      found = vec4<f32>(max(found.x, one.x), found.yzw + one.yzw);
    }
  }
  let most = max_of_all(found.x, thread);
  let squares = sum_of_all(found.y, thread);
  let changed = sum_of_all(found.z, thread);
  let broken = sum_of_all(found.w, thread);
  if (thread == 0u && begin < p.vectors) {
    statistics[index] = vec4<f32>(most, squares, changed, broken);
  }
}
