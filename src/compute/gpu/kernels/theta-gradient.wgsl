// parts[slice, i] = Σ_e G[e] · θ_i[e] over the slice's elements of some rows of G = ∂loss/∂ΔW of one layer: what the loss
// changes with each coefficient (PRANC). Bases are drawn as whole numbers (theta.wgsl). Nothing is added atomically:
// partial-sums.wgsl adds the slices.
//
// A workgroup takes ${BASES} bases, and ${THREADS} blocks of elements at a time: each thread holds one block of G and draws the
// same block of each basis. It has a sum of its own for each basis in workgroup memory; at the end threads add up those of
// single bases.
#include theta

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;

const THREADS = ${THREADS}u;
const BASES = ${BASES}u; // at most THREADS
const SUM_BLOCK = 256u; // as in every sum: long ones lose no more than short ones

// Zero before the first element and after the last one.
fn load(e: u32) -> f32 {
  if (e >= p.count) { // below zero is far above
    return 0.0;
  }
  return g[p.g_at + e / p.width * p.pitch + e % p.width];
}

#block load_blocks
      let local = (workgroup.y * p.rounds + round) * THREADS + thread;
      let block = add_to(block_of(p.begin), vec2<u32>(local, 0u));
#for w in 0..4
      var g_${w}: vec4<f32>;
#end
      for (var t = 0u; t < 4u; t++) {
#for w in 0..4
        g_${w}[t] = load(local * BLOCK + ${w * 4}u + t - skipped);
#end
      }
#end
#block draw
        let words = theta_words(block, first_basis + b, p.key);
        let found = dot(g_0, philox_units(words.x)) + dot(g_1, philox_units(words.y)) +
          dot(g_2, philox_units(words.z)) + dot(g_3, philox_units(words.w));
#end
const ROW = ${THREADS + 1}u; // of `dots`; odd, so that columns lie in different banks

// [basis, thread]: an array of scalars, because threads write neighbors.
var<workgroup> dots: array<f32, ${BASES * (THREADS + 1)}>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let first_basis = workgroup.x * BASES;
  let drawn = min(BASES, p.bases - first_basis);
  let skipped = p.begin.x % BLOCK;
  var total = 0.0;
  for (var begin = 0u; begin < p.rounds; begin += SUM_BLOCK) {
    for (var b = 0u; b < drawn; b++) {
      dots[b * ROW + thread] = 0.0;
    }
    for (var round = begin; round < min(begin + SUM_BLOCK, p.rounds); round++) {
#include load_blocks
      for (var b = 0u; b < drawn; b++) {
#include draw
        dots[b * ROW + thread] += found;
      }
    }
    workgroupBarrier();
    if (thread < drawn) {
      for (var other = 0u; other < THREADS; other++) {
        total += dots[thread * ROW + other];
      }
    }
    workgroupBarrier();
  }
  if (thread < drawn) {
    parts[workgroup.y * p.bases + first_basis + thread] = total;
  }
}
