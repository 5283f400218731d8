// The gradients of attention by tiles of scores, so that no matrix of tokens × tokens exists (algorithm 4 of Dao et al.,
// arXiv:2205.14135). A workgroup owns some columns, and the rows that meet them stream by:
//
//   PASS        columns         rows            results
//   "queries"   q, dy           keys, values    dq = Σ slopes · keys
//   "keys"      keys, values    q, dy           dkeys = Σ slopes · q, dvalues = Σ weights · dy
//
// with weights = softmax of the scores and slopes = ∂loss/∂(q · key). Operand 0 of both sides is what scores are made of,
// operand 1 the other. Scores are computed in both passes; what that costs buys sums without atomics.
//
// Queries are counted as pairs of a token and a head of one group: pair f is token f / group, head f % group. This is the
// head of attention-backward-subgroup.wgsl and attention-backward-workgroup.wgsl.
#if STAGING == "subgroup"
enable subgroups;
diagnostic(off, subgroup_uniformity); // loops begin and end where a subgroup's minimum and maximum say so
#end

struct Parameters {
  tokens: u32,
  positions: u32,
  group: u32, // heads that share a kv head
  head: u32, // vectors of 4
  causal: u32, // no pair sees a key behind its token's position, so that whole pairs can be left out
  first_position: u32, // where it is causal
  scale: f32,
  cap: f32, // scores become cap · tanh(score / cap)
  cols0_at: u32, // vectors before the first element, and from row to row
  cols0_pitch: u32,
  cols1_at: u32,
  cols1_pitch: u32,
  rows0_at: u32,
  rows0_pitch: u32,
  rows1_at: u32,
  rows1_pitch: u32,
  out0_at: u32,
  out0_pitch: u32,
  out1_at: u32,
  out1_pitch: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> cols0: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> cols1: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> rows0: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> rows1: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> stats: array<vec4<f32>>; // see attention-stats.wgsl
@group(0) @binding(6) var<storage, read_write> out0: array<vec4<f32>>;
#if PASS == "keys"
@group(0) @binding(7) var<storage, read_write> out1: array<vec4<f32>>;
#end

fn head_of(pair: u32, kv_head: u32) -> u32 {
  return kv_head * p.group + pair % p.group;
}

fn element_of_pair(pair: u32, kv_head: u32, pitch: u32) -> u32 {
  return (pair / p.group) * pitch + head_of(pair, kv_head) * p.head;
}

fn element_of_key(key: u32, kv_head: u32, pitch: u32) -> u32 {
  return key * pitch + kv_head * p.head;
}

fn stats_of(pair: u32, kv_head: u32) -> vec4<f32> {
  return stats[head_of(pair, kv_head) * p.tokens + pair / p.group];
}

fn first_key(pair_stats: vec4<f32>) -> u32 {
  return u32(pair_stats.z);
}

fn last_key(pair_stats: vec4<f32>) -> u32 {
  return u32(pair_stats.w);
}

// The first pair that may see keys from this one on.
fn first_pair(key: u32) -> u32 {
  if (p.causal == 0u) {
    return 0u;
  }
  return min(max(key, p.first_position) - p.first_position, p.tokens) * p.group;
}

fn capped(score: vec4<f32>) -> vec4<f32> {
#if SOFTCAP
  return p.cap * tanh(clamp(score / p.cap, vec4<f32>(-15.0), vec4<f32>(15.0)));
#else
  return score;
#end
}

struct Weighed {
  weight: vec4<f32>,
  slope: vec4<f32>,
}

// From q · key and dy · value of 4 columns.
fn weigh(q_key: vec4<f32>, dy_value: vec4<f32>, log_sum: vec4<f32>, offset: vec4<f32>, seen: vec4<bool>) -> Weighed {
  let score = capped(p.scale * q_key);
  let weight = select(vec4<f32>(0.0), exp(score - log_sum), seen);
  var slope = p.scale * weight * (dy_value - offset);
#if SOFTCAP
  slope *= 1.0 - (score / p.cap) * (score / p.cap);
#end
  return Weighed(weight, slope);
}
