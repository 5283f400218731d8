// target (+)= scale · Σ_i α[i] · θ_i, for some rows of one layer's weight (PRANC, Nooralinejad et al., arXiv:2206.08464).
// Bases are drawn as whole numbers (theta.wgsl); what they stand for is part of `scale`.
//
// A line is a run of elements that are neighbors in the bases: all of these rows where the target lies as ΔW does, (out,
// in); where it is stored (in, out), the part of one of ΔW's rows that crosses the target's rows.
#include theta

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> alpha: array<f32>;
@group(0) @binding(2) var<storage, read_write> target_: array<f32>;

const SUM_BLOCK = 256u; // as in every sum: long ones lose no more than short ones

// One thread: one block of a line.
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let first = add_to(p.begin, philox_multiply(id.y, p.line_step));
  let skipped = first.x % BLOCK;
  if (id.x * BLOCK >= p.count + skipped) {
    return;
  }
  let block = add_to(block_of(first), vec2<u32>(id.x, 0u));
#for w in 0..4
  var total_${w} = vec4<f32>(0.0);
#end
  for (var begin = 0u; begin < p.bases; begin += SUM_BLOCK) {
#for w in 0..4
    var sum_${w} = vec4<f32>(0.0);
#end
    for (var i = begin; i < min(begin + SUM_BLOCK, p.bases); i++) {
      let coefficient = alpha[p.alpha_at + i];
      let words = theta_words(block, i, p.key);
#for w in 0..4
      sum_${w} += coefficient * philox_units(words[${w}]);
#end
    }
#for w in 0..4
    total_${w} += sum_${w};
#end
  }
#for w in 0..4
  store(id.x * BLOCK + ${w * 4}u - skipped, id.y, p.scale * total_${w});
#end
}

// Four neighbors of a line from element `e` on, which may lie before its begin and after its end.
fn store(e: u32, line: u32, values: vec4<f32>) {
  for (var t = 0u; t < 4u; t++) {
    if (e + t < p.count) { // below zero is far above
      store_one(e + t, line, values[t]);
    }
  }
}

fn store_one(e: u32, line: u32, value: f32) {
  let col = e % p.width + line;
  let at = p.target_at + e / p.width * p.pitch + col;
  if (p.accumulate != 0u) {
    target_[at] += value;
    return;
  }
  target_[at] = value;
  if (p.line_col + col + 1u == p.cols) {
    // What pads a row to whole vectors becomes zero.
    for (var c = p.cols; c % 4u != 0u; c++) {
      target_[at + c + 1u - p.cols] = 0.0;
    }
  }
}
