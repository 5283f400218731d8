// Grouped-query attention with an online softmax (Dao et al., arXiv:2205.14135; the softmax of Milakov and
// Gimelshein, arXiv:1805.02867): no matrix of tokens × tokens exists.
//
//   q (tokens, heads · HEAD)     keys, values (positions, kv heads · HEAD)     y as q
//
// Each token sees the keys from a first to a last one. The last is its own, at position first_position + t of token t,
// unless `lasts` says another; the first is that of the window, which ends with the last, or a later one by `firsts`. A
// workgroup serves TILE_ROWS pairs (token, head of one group): pair f is token f / group, head f % group of its kv head.
// What decoding never asks for, EXTRAS, is a variant: first and last key of each token, and the logarithms of the
// softmax's sums. This is the head of attention-subgroup.wgsl and attention-workgroup.wgsl.
#if STAGING == "subgroup"
enable subgroups;
#if EXTRAS
diagnostic(off, subgroup_uniformity); // loops go from the first to the last key of a tile's tokens, the same for all lanes
#end
#end

struct Parameters {
  tokens: u32,
  group: u32, // heads that share a kv head
  first_position: u32,
  window: u32, // keys seen at most
  scale: f32,
  cap: f32, // where there is a SOFTCAP, scores become cap · tanh(score / cap)
  q_at: u32, // vectors of 4 before the first element, and from row to row
  q_pitch: u32,
  k_at: u32,
  k_pitch: u32,
  v_at: u32,
  v_pitch: u32,
  y_at: u32,
  y_pitch: u32,
  flags: u32,
  firsts_at: u32, // elements, here and below
  lasts_at: u32,
  sums_at: u32,
  sums_pitch: u32,
  heads: u32,
}

const HAS_FIRSTS = 1u;
const HAS_LASTS = 2u;
const HAS_SUMS = 4u;

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;
#if EXTRAS
@group(0) @binding(5) var<storage, read> firsts: array<u32>;
@group(0) @binding(6) var<storage, read> lasts: array<u32>;
@group(0) @binding(7) var<storage, read_write> sums: array<f32>;
#end

const HEAD = ${HEAD_VECTORS}u; // vectors of 4
const TILE_ROWS = ${TILE_ROWS}u;
const NEVER = -3.0e38; // below every score

fn capped(score: vec4<f32>) -> vec4<f32> {
  return p.cap * tanh(clamp(score / p.cap, vec4<f32>(-15.0), vec4<f32>(15.0)));
}

// The last key that a pair sees.
fn last_key(pair: u32) -> u32 {
#if EXTRAS
  if ((p.flags & HAS_LASTS) != 0u) {
    return lasts[p.lasts_at + pair / p.group];
  }
#end
  return p.first_position + pair / p.group;
}

// The first key that a pair sees.
fn first_key(pair: u32) -> u32 {
  let next = last_key(pair) + 1u;
  let first = select(0u, next - p.window, next > p.window);
#if EXTRAS
  if ((p.flags & HAS_FIRSTS) != 0u) {
    return max(first, firsts[p.firsts_at + pair / p.group]);
  }
#end
  return first;
}

#if EXTRAS
fn store_sum(pair: u32, kv_head: u32, log_sum: f32) {
  if ((p.flags & HAS_SUMS) == 0u) {
    return;
  }
  let head = kv_head * p.group + pair % p.group;
  let row = p.sums_at + (pair / p.group) * p.sums_pitch;
  sums[row + head] = log_sum;
  // What is behind the last one stays zero.
  for (var pad = head + 1u; pad >= p.heads && pad % 4u != 0u; pad++) {
    sums[row + pad] = 0.0;
  }
}
#end

fn element_of(pair: u32, kv_head: u32, pitch: u32) -> u32 {
  return (pair / p.group) * pitch + (kv_head * p.group + pair % p.group) * HEAD;
}
