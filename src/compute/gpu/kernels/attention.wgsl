// Grouped-query attention with an online softmax (Dao et al., arXiv:2205.14135; the softmax of Milakov and
// Gimelshein, arXiv:1805.02867): no matrix of tokens × tokens exists.
//
//   q (tokens, heads · HEAD)     keys, values (positions, kv heads · HEAD)     y as q
//
// A workgroup serves TILE_ROWS pairs (token, head of one group): pair f is token f / group, head f % group of its kv head; of 128
// threads each scores one key of a tile for all pairs, then owns parts of the outputs. What a tile comes to joins what those before
// it came to; where tokens are too few to keep a device busy, SPLIT, a workgroup has one tile and leaves a record of that, the
// largest score, the sum and Σ weight · value, for attention-join.wgsl, which joins them to the same bits. Tokens of sequences
// that lie APART share no tile: its workgroup looks for the one that sees it.
//
// Keys and values are KV: F32, F16 (halves of words), or Q8_ROWS (bytes of words, the scales of blocks behind those of a row).

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
#if KV == "F32"
@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> values: array<vec4<f32>>;
#end
#if KV == "F16"
@group(0) @binding(2) var<storage, read> keys: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> values: array<vec2<u32>>;
#end
#if KV == "Q8_ROWS"
@group(0) @binding(2) var<storage, read> keys: array<u32>;
@group(0) @binding(3) var<storage, read> values: array<u32>;
#use dtype
#end
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // SPLIT: records
#if EXTRAS
@group(0) @binding(5) var<storage, read> firsts: array<u32>;
@group(0) @binding(6) var<storage, read> lasts: array<u32>;
@group(0) @binding(7) var<storage, read_write> sums: array<f32>;
#end

const HEAD = ${HEAD_VECTORS}u; // vectors of 4
const TILE_ROWS = ${TILE_ROWS}u;
#include attention_sight

// The vector number `at` of a row.
#if KV == "F32"
fn key4(row: u32, at: u32) -> vec4<f32> { return keys[row + at]; }
fn value4(row: u32, at: u32) -> vec4<f32> { return values[row + at]; }
#end
#if KV == "F16"
fn widened(words: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
fn key4(row: u32, at: u32) -> vec4<f32> { return widened(keys[row + at]); }
fn value4(row: u32, at: u32) -> vec4<f32> { return widened(values[row + at]); }
#end
#if KV == "Q8_ROWS"
// The word of a row with the scales of this vector's block and a neighbor, and the one of the two.
fn scales_at(at: u32) -> u32 { return p.heads / p.group * HEAD + at / 16u; }
fn scale_of(word: u32, at: u32) -> f32 { return widen_f16((word >> (at / 8u % 2u * 16u)) & 0xffffu); }
fn key4(row: u32, at: u32) -> vec4<f32> { return scale_of(keys[row + scales_at(at)], at) * quants4_q8(keys[row + at]); }
fn value4(row: u32, at: u32) -> vec4<f32> { return scale_of(values[row + scales_at(at)], at) * quants4_q8(values[row + at]); }
#end

#if SOFTCAP
#include safe_tanh

fn capped(score: f32) -> f32 {
  return p.cap * safe_tanh(vec4<f32>(score / p.cap)).x;
}
#end

fn element_of(pair: u32, kv_head: u32, pitch: u32) -> u32 {
  return (pair / p.group) * pitch + (kv_head * p.group + pair % p.group) * HEAD;
}

const THREADS = 128u;
const SHARE = THREADS / TILE_ROWS; // threads that reduce one pair's scores

var<workgroup> rows: array<vec4<f32>, ${TILE_ROWS * HEAD_VECTORS}>;
var<workgroup> scores: array<f32, ${TILE_ROWS * TILE_KEYS}>;
var<workgroup> partial: array<f32, 128>;
#if SPLIT == 0
var<workgroup> shrinks: array<f32, ${TILE_ROWS}>;
var<workgroup> grows: array<f32, ${TILE_ROWS}>;
#end
#if EXTRAS && SPLIT == 0
var<workgroup> seen: array<vec2<u32>, ${TILE_ROWS}>; // each pair's first and last key

// Does a pair that sees these keys see any of the tile that begins at `base`?
fn looks(keys_seen: vec2<u32>, base: u32) -> bool {
  return keys_seen.x < base + TILE_KEYS && keys_seen.y >= base;
}
#end

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
#if SPLIT
  let tile = p.first_tile + workgroup.z;
  let base = tile * TILE_KEYS;
#end
#if APART
  var token = 0u;
  for (; token < p.tokens; token++) {
    if (first_key(token) < base + TILE_KEYS && last_key(token) >= base) {
      break;
    }
  }
  if (token == p.tokens) {
    return;
  }
  let pairs = (token + 1u) * p.group;
  let first_pair = token * p.group + workgroup.x * TILE_ROWS;
#else
  let pairs = p.tokens * p.group;
  let first_pair = workgroup.x * TILE_ROWS;
#end
  let last_pair = min(first_pair + TILE_ROWS, pairs) - 1u;
  let kv_head = workgroup.y;
  for (var unit = thread; unit < TILE_ROWS * HEAD; unit += THREADS) {
    let pair = min(first_pair + unit / HEAD, pairs - 1u);
    rows[unit] = q[p.q_at + element_of(pair, kv_head, p.q_pitch) + unit % HEAD];
  }
  let mine = thread / SHARE;
  let last = last_key(min(first_pair + mine, pairs - 1u) / p.group);
  let first = first_key(min(first_pair + mine, pairs - 1u) / p.group);
#if SPLIT == 0
  // Running maximum and sum of the pair that this thread helps to reduce; equal in all threads that share it.
  var top = NEVER;
  var sum = 0.0;
#for u in 0..UNITS
  var out_${u} = vec4<f32>(0.0);
#end
#end
#if EXTRAS && SPLIT == 0
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
  let range = vec2<u32>(first_key(first_pair / p.group), last_key(last_pair / p.group));
  workgroupBarrier();
#end
  let begin = range.x;
  let end = range.y; // the last key of the tile
#if SPLIT
  if (base > end || base + TILE_KEYS <= begin) {
    return;
  }
  {
#else
  for (var base = begin / TILE_KEYS * TILE_KEYS; base <= end; base += TILE_KEYS) {
#end
#if EXTRAS && SPLIT == 0
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
    let row = p.k_at + min(base + thread, end_here) * p.k_pitch;
#for i in 0..TILE_ROWS
    var s_${i} = 0.0;
#end
    for (var d = 0u; d < HEAD; d++) {
      let key = key4(row, kv_head * HEAD + d);
#for i in 0..TILE_ROWS
      s_${i} += dot(rows[${i}u * HEAD + d], key);
#end
    }
#for i in 0..TILE_ROWS
    scores[${i * TILE_KEYS}u + thread] = s_${i} * p.scale;
#end
#if SOFTCAP
    for (var i = 0u; i < TILE_ROWS; i++) {
      scores[i * TILE_KEYS + thread] = capped(scores[i * TILE_KEYS + thread]);
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
    let here_top = most;
    var added = 0.0;
    for (var n = thread % SHARE; n < TILE_KEYS; n += SHARE) {
      var weight = 0.0;
      if (base + n <= last && base + n >= first) {
        weight = exp(scores[mine * TILE_KEYS + n] - here_top);
      }
      scores[mine * TILE_KEYS + n] = weight;
      added += weight;
    }
    workgroupBarrier();
    partial[thread] = added;
#if SPLIT == 0
    most = max(here_top, top);
    if (thread % SHARE == 0u) {
      shrinks[mine] = exp(top - most);
      grows[mine] = exp(here_top - most);
    }
#end
    workgroupBarrier();
    var here_sum = 0.0;
    for (var n = 0u; n < SHARE; n++) {
      here_sum += partial[mine * SHARE + n];
    }
#if SPLIT == 0
    sum = fma(here_sum, exp(here_top - most), sum * exp(top - most));
    top = most;
#end
    let here = min(TILE_KEYS, end_here + 1u - base);
#for u in 0..UNITS
    {
      let unit = min(${u}u * THREADS + thread, TILE_ROWS * HEAD - 1u);
      let source = p.v_at + base * p.v_pitch;
      let at = kv_head * HEAD + unit % HEAD;
      var part = vec4<f32>(0.0);
      for (var n = 0u; n < here; n++) {
        part = fma(vec4<f32>(scores[unit / HEAD * TILE_KEYS + n]), value4(source + n * p.v_pitch, at), part);
      }
#if SPLIT
      let pair = first_pair + unit / HEAD;
      if (${u}u * THREADS + thread == unit && pair <= last_pair) {
        y[record_of(pair / p.group, kv_head * p.group + pair % p.group, tile) + 1u + unit % HEAD] = part;
      }
#else
#if EXTRAS
      if (looks(seen[unit / HEAD], base)) {
        out_${u} = fma(part, vec4<f32>(grows[unit / HEAD]), out_${u} * shrinks[unit / HEAD]);
      }
#else
      out_${u} = fma(part, vec4<f32>(grows[unit / HEAD]), out_${u} * shrinks[unit / HEAD]);
#end
#end
    }
#end
#if SPLIT
    if (thread % SHARE == 0u && first_pair + mine <= last_pair) {
      let pair = first_pair + mine;
      y[record_of(pair / p.group, kv_head * p.group + pair % p.group, tile)] = vec4<f32>(here_top, here_sum, 0.0, 0.0);
    }
  }
#else
    workgroupBarrier();
  }
  if (thread % SHARE == 0u) {
    shrinks[mine] = sum;
#if EXTRAS
    if (first_pair + mine <= last_pair) {
      let pair = first_pair + mine;
      store_sum(pair / p.group, kv_head * p.group + pair % p.group, top + log(sum));
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
#end
}
