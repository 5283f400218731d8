// Grouped-query attention with an online softmax (Dao et al., arXiv:2205.14135; the softmax of Milakov and
// Gimelshein, arXiv:1805.02867): no matrix of tokens × tokens exists.
//
//   q (tokens, heads · HEAD)     keys, values (positions, kv heads · HEAD)     y as q
//
// Each token sees the keys from a first to a last one. The last is its own, at position first_position + t of token t,
// unless `lasts` says another; the first is that of the window, which ends with the last, or a later one by `firsts`. A
// workgroup serves TILE_ROWS pairs (token, head of one group): pair f is token f / group, head f % group of its kv head.
// What decoding never asks for, EXTRAS, is a variant: first and last key of each token, and the logarithms of the
// softmax's sums.
//
// Of 128 threads each scores one key of a tile for all pairs, then owns parts of the outputs.

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

#if SOFTCAP
#include safe_tanh

fn capped(score: f32) -> f32 {
  return p.cap * safe_tanh(vec4<f32>(score / p.cap)).x;
}
#end

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

const THREADS = 128u;
const TILE_KEYS = THREADS;
const SHARE = THREADS / TILE_ROWS; // threads that reduce one pair's scores

var<workgroup> rows: array<vec4<f32>, ${TILE_ROWS * HEAD_VECTORS}>;
var<workgroup> scores: array<f32, ${TILE_ROWS * 128}>;
var<workgroup> partial: array<f32, 128>;
var<workgroup> shrinks: array<f32, ${TILE_ROWS}>;
#if EXTRAS
var<workgroup> seen: array<vec2<u32>, ${TILE_ROWS}>; // each pair's first and last key

// Does a pair that sees these keys see any of the tile that begins at `base`?
fn looks(keys_seen: vec2<u32>, base: u32) -> bool {
  return keys_seen.x < base + TILE_KEYS && keys_seen.y >= base;
}
#end

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let pairs = p.tokens * p.group;
  let first_pair = workgroup.x * TILE_ROWS;
  let last_pair = min(first_pair + TILE_ROWS, pairs) - 1u;
  let kv_head = workgroup.y;
  for (var unit = thread; unit < TILE_ROWS * HEAD; unit += THREADS) {
    let pair = min(first_pair + unit / HEAD, pairs - 1u);
    rows[unit] = q[p.q_at + element_of(pair, kv_head, p.q_pitch) + unit % HEAD];
  }
  // Running maximum and sum of the pair that this thread helps to reduce; equal in all threads that share it.
  let mine = thread / SHARE;
  let last = last_key(min(first_pair + mine, pairs - 1u));
  let first = first_key(min(first_pair + mine, pairs - 1u));
  var top = NEVER;
  var sum = 0.0;
#for u in 0..UNITS
  var out_${u} = vec4<f32>(0.0);
#end
#if EXTRAS
  if (thread % SHARE == 0u) {
    seen[mine] = vec2<u32>(first, last);
  }
  // Of all pairs, the same in all threads: what they decide on is uniform.
  let all_seen = workgroupUniformLoad(&seen);
  var range = all_seen[0];
#for i in 1..TILE_ROWS
  range = vec2<u32>(min(range.x, all_seen[${i}].x), max(range.y, all_seen[${i}].y));
#end
#else
  let range = vec2<u32>(first_key(first_pair), last_key(last_pair));
  workgroupBarrier();
#end
  let begin = range.x;
  let end = range.y; // the last key of the tile
  for (var base = begin / TILE_KEYS * TILE_KEYS; base <= end; base += TILE_KEYS) {
#if EXTRAS
    // Sequences lie far apart: between them nobody looks, and what is no number in one (0 · NaN) is not for others.
    var shown = 0u; // keys up to the last that a pair sees which sees any of this tile
#for i in 0..TILE_ROWS
    shown = select(shown, max(shown, all_seen[${i}].y + 1u), looks(all_seen[${i}], base));
#end
    if (shown == 0u) {
      continue;
    }
    let end_here = shown - 1u;
#else
    let end_here = end;
#end
    let row = p.k_at + kv_head * HEAD + min(base + thread, end_here) * p.k_pitch;
#for i in 0..TILE_ROWS
    var s_${i} = 0.0;
#end
    for (var d = 0u; d < HEAD; d++) {
      let key = keys[row + d];
#for i in 0..TILE_ROWS
      s_${i} += dot(rows[${i}u * HEAD + d], key);
#end
    }
#for i in 0..TILE_ROWS
    scores[${i * 128}u + thread] = s_${i} * p.scale;
#end
#if SOFTCAP
    for (var i = 0u; i < TILE_ROWS; i++) {
      scores[i * 128u + thread] = capped(scores[i * 128u + thread]);
    }
#end
    workgroupBarrier();
    var most = NEVER;
    for (var n = thread % SHARE; n < TILE_KEYS; n += SHARE) {
      if (base + n <= last && base + n >= first) {
        most = max(most, scores[mine * TILE_KEYS + n]);
      }
    }
    partial[thread] = most;
    workgroupBarrier();
    for (var n = 0u; n < SHARE; n++) {
      most = max(most, partial[mine * SHARE + n]);
    }
    most = max(most, top);
    var added = 0.0;
    for (var n = thread % SHARE; n < TILE_KEYS; n += SHARE) {
      var weight = 0.0;
      if (base + n <= last && base + n >= first) {
        weight = exp(scores[mine * TILE_KEYS + n] - most);
      }
      scores[mine * TILE_KEYS + n] = weight;
      added += weight;
    }
    workgroupBarrier();
    partial[thread] = added;
    if (thread % SHARE == 0u) {
      shrinks[mine] = exp(top - most);
    }
    workgroupBarrier();
    sum *= exp(top - most);
    for (var n = 0u; n < SHARE; n++) {
      sum += partial[mine * SHARE + n];
    }
    top = most;
    let here = min(TILE_KEYS, end_here + 1u - base);
#for u in 0..UNITS
    {
      let unit = min(${u}u * THREADS + thread, TILE_ROWS * HEAD - 1u);
      let source = p.v_at + kv_head * HEAD + unit % HEAD + base * p.v_pitch;
      var part = vec4<f32>(0.0);
      for (var n = 0u; n < here; n++) {
        part = fma(vec4<f32>(scores[unit / HEAD * TILE_KEYS + n]), values[source + n * p.v_pitch], part);
      }
#if EXTRAS
      if (looks(seen[unit / HEAD], base)) {
        out_${u} = out_${u} * shrinks[unit / HEAD] + part;
      }
#else
      out_${u} = out_${u} * shrinks[unit / HEAD] + part;
#end
    }
#end
    workgroupBarrier();
  }
  if (thread % SHARE == 0u) {
    shrinks[mine] = sum;
#if EXTRAS
    if (first_pair + mine <= last_pair) {
      store_sum(first_pair + mine, kv_head, top + log(sum));
    }
#end
  }
  workgroupBarrier();
#for u in 0..UNITS
  {
    let unit = ${u}u * THREADS + thread;
    let pair = first_pair + unit / HEAD;
    if (unit < TILE_ROWS * HEAD && pair <= last_pair) {
      y[p.y_at + element_of(pair, kv_head, p.y_pitch) + unit % HEAD] = out_${u} / shrinks[unit / HEAD];
    }
  }
#end
}
