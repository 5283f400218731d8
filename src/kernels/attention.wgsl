// Causal grouped-query attention with an online softmax (Dao et al., arXiv:2205.14135; the softmax of Milakov and
// Gimelshein, arXiv:1805.02867): no matrix of tokens × tokens exists.
//
//   q (tokens, heads · HEAD)     keys, values (positions, kv heads · HEAD)     y as q
//
// Token t stands at position first_position + t and sees the keys from position − window + 1 to its own. A workgroup
// serves TILE_ROWS pairs (token, head of one group): pair f is token f / group, head f % group of its kv head.
#if STAGING == "subgroup"
enable subgroups;
#end

struct Parameters {
  tokens: u32,
  group: u32, // heads that share a kv head
  first_position: u32,
  window: u32, // keys seen at most
  scale: f32,
  cap: f32, // scores become cap · tanh(score / cap); 0: they do not
  q_at: u32, // vectors of 4 before the first element, and from row to row
  q_pitch: u32,
  k_at: u32,
  k_pitch: u32,
  v_at: u32,
  v_pitch: u32,
  y_at: u32,
  y_pitch: u32,
  pad0: u32,
  pad1: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

const HEAD = ${HEAD_VECTORS}u; // vectors of 4
const TILE_ROWS = ${TILE_ROWS}u;
const NEVER = -3.0e38; // below every score

fn capped(score: vec4<f32>) -> vec4<f32> {
  return p.cap * tanh(clamp(score / p.cap, vec4<f32>(-15.0), vec4<f32>(15.0)));
}

fn position_of(pair: u32) -> u32 {
  return p.first_position + pair / p.group;
}

// The first key that a position sees.
fn first_key(position: u32) -> u32 {
  return select(0u, position + 1u - p.window, position + 1u > p.window);
}

fn element_of(pair: u32, kv_head: u32, pitch: u32) -> u32 {
  return (pair / p.group) * pitch + (kv_head * p.group + pair % p.group) * HEAD;
}

#if STAGING == "subgroup"
// ---- one subgroup a workgroup: keys 4·lane … 4·lane + 3 of a tile belong to a lane ---------------------------------
const TILE_KEYS = ${4 * LANES}u;
var<workgroup> scores: array<vec4<f32>, ${TILE_ROWS * LANES}>;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let pairs = p.tokens * p.group;
  let first_pair = workgroup.x * TILE_ROWS;
  let last_pair = min(first_pair + TILE_ROWS, pairs) - 1u;
  let kv_head = workgroup.y;
  let last_key = position_of(last_pair);
  let slice = workgroup.z * ${VECTORS_PER_LANE * LANES}u; // of the outputs; scores are computed for each slice
#for a in 0..ROWS_PER_LANE
  let q_${a} = p.q_at + element_of(min(first_pair + ${a * LANES}u + lane, pairs - 1u), kv_head, p.q_pitch);
#end
#for i in 0..TILE_ROWS
  let position_${i} = position_of(min(first_pair + ${i}u, pairs - 1u));
  var top_${i} = NEVER;
  var sum_${i} = vec4<f32>(0.0);
#for d in 0..VECTORS_PER_LANE
  var out_${i}_${d} = vec4<f32>(0.0);
#end
#end
  for (var base = first_key(position_of(first_pair)) / TILE_KEYS * TILE_KEYS; base <= last_key; base += TILE_KEYS) {
    let key = vec4<u32>(base + lane * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let row = vec4<u32>(p.k_at + kv_head * HEAD) + min(key, vec4<u32>(last_key)) * p.k_pitch;
#for i in 0..TILE_ROWS
    var s_${i} = vec4<f32>(0.0);
#end
    for (var d = 0u; d < HEAD; d++) {
      let k0 = keys[row.x + d];
      let k1 = keys[row.y + d];
      let k2 = keys[row.z + d];
      let k3 = keys[row.w + d];
      let c0 = vec4<f32>(k0.x, k1.x, k2.x, k3.x);
      let c1 = vec4<f32>(k0.y, k1.y, k2.y, k3.y);
      let c2 = vec4<f32>(k0.z, k1.z, k2.z, k3.z);
      let c3 = vec4<f32>(k0.w, k1.w, k2.w, k3.w);
#for a in 0..ROWS_PER_LANE
      let a_${a} = q[q_${a} + d];
#end
#for l in 0..LANES
#for a in 0..ROWS_PER_LANE
      {
        let x = ${SHUFFLE}(a_${a}, ${l}u);
        s_${a * LANES + l} += x.x * c0 + x.y * c1 + x.z * c2 + x.w * c3;
      }
#end
#end
    }
#for i in 0..TILE_ROWS
    s_${i} *= p.scale;
#end
    if (p.cap != 0.0) {
      // One copy of tanh in a loop compiles faster than one a row; each lane reads back what it wrote.
#for i in 0..TILE_ROWS
      scores[${i * LANES}u + lane] = s_${i};
#end
      for (var i = 0u; i < TILE_ROWS; i++) {
        scores[i * ${LANES}u + lane] = capped(scores[i * ${LANES}u + lane]);
      }
#for i in 0..TILE_ROWS
      s_${i} = scores[${i * LANES}u + lane];
#end
    }
#for i in 0..TILE_ROWS
    {
      let seen = (key <= vec4<u32>(position_${i})) & (key >= vec4<u32>(first_key(position_${i})));
      let score = select(vec4<f32>(NEVER), s_${i}, seen);
      let top = max(top_${i}, subgroupMax(max(max(score.x, score.y), max(score.z, score.w))));
      let shrink = exp(top_${i} - top);
      s_${i} = select(vec4<f32>(0.0), exp(score - top), seen);
      sum_${i} = sum_${i} * shrink + s_${i};
      top_${i} = top;
#for d in 0..VECTORS_PER_LANE
      out_${i}_${d} *= shrink;
#end
    }
#end
#for d in 0..VECTORS_PER_LANE
    {
      let column = p.v_at + kv_head * HEAD + min(slice + ${d * LANES}u + lane, HEAD - 1u);
#for i in 0..TILE_ROWS
      var part_${i} = vec4<f32>(0.0);
#end
      for (var l = 0u; l < ${LANES}u; l++) {
        let source = min(vec4<u32>(base + l * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last_key));
        let v0 = values[column + source.x * p.v_pitch];
        let v1 = values[column + source.y * p.v_pitch];
        let v2 = values[column + source.z * p.v_pitch];
        let v3 = values[column + source.w * p.v_pitch];
#for i in 0..TILE_ROWS
        {
          let x = subgroupShuffle(s_${i}, l);
          part_${i} += x.x * v0 + x.y * v1 + x.z * v2 + x.w * v3;
        }
#end
      }
#for i in 0..TILE_ROWS
      out_${i}_${d} += part_${i};
#end
    }
#end
  }
#for i in 0..TILE_ROWS
  {
    let total = subgroupAdd(dot(sum_${i}, vec4<f32>(1.0)));
    if (first_pair + ${i}u <= last_pair) {
      let to = p.y_at + element_of(first_pair + ${i}u, kv_head, p.y_pitch);
#for d in 0..VECTORS_PER_LANE
      if (slice + ${d * LANES}u + lane < HEAD) {
        y[to + slice + ${d * LANES}u + lane] = out_${i}_${d} / total;
      }
#end
    }
  }
#end
}
#else
// ---- 128 threads: each scores one key of a tile for all pairs, then owns parts of the outputs ----------------------
const THREADS = 128u;
const TILE_KEYS = THREADS;
const SHARE = THREADS / TILE_ROWS; // threads that reduce one pair's scores

var<workgroup> rows: array<vec4<f32>, ${TILE_ROWS * HEAD_VECTORS}>;
var<workgroup> scores: array<f32, ${TILE_ROWS * 128}>;
var<workgroup> partial: array<f32, 128>;
var<workgroup> shrinks: array<f32, ${TILE_ROWS}>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let pairs = p.tokens * p.group;
  let first_pair = workgroup.x * TILE_ROWS;
  let last_pair = min(first_pair + TILE_ROWS, pairs) - 1u;
  let kv_head = workgroup.y;
  let last_key = position_of(last_pair);
  for (var unit = thread; unit < TILE_ROWS * HEAD; unit += THREADS) {
    let pair = min(first_pair + unit / HEAD, pairs - 1u);
    rows[unit] = q[p.q_at + element_of(pair, kv_head, p.q_pitch) + unit % HEAD];
  }
  // Running maximum and sum of the pair that this thread helps to reduce; equal in all threads that share it.
  let mine = thread / SHARE;
  let position = position_of(min(first_pair + mine, pairs - 1u));
  var top = NEVER;
  var sum = 0.0;
#for u in 0..UNITS
  var out_${u} = vec4<f32>(0.0);
#end
  workgroupBarrier();
  for (var base = first_key(position_of(first_pair)) / TILE_KEYS * TILE_KEYS; base <= last_key; base += TILE_KEYS) {
    let row = p.k_at + kv_head * HEAD + min(base + thread, last_key) * p.k_pitch;
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
    if (p.cap != 0.0) {
      for (var i = 0u; i < TILE_ROWS; i++) {
        scores[i * 128u + thread] = capped(vec4<f32>(scores[i * 128u + thread])).x;
      }
    }
    workgroupBarrier();
    var most = NEVER;
    for (var n = thread % SHARE; n < TILE_KEYS; n += SHARE) {
      if (base + n <= position && base + n >= first_key(position)) {
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
      if (base + n <= position && base + n >= first_key(position)) {
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
    let here = min(TILE_KEYS, last_key + 1u - base);
#for u in 0..UNITS
    {
      let unit = min(${u}u * THREADS + thread, TILE_ROWS * HEAD - 1u);
      let source = p.v_at + kv_head * HEAD + unit % HEAD + base * p.v_pitch;
      var part = vec4<f32>(0.0);
      for (var n = 0u; n < here; n++) {
        part = fma(vec4<f32>(scores[unit / HEAD * TILE_KEYS + n]), values[source + n * p.v_pitch], part);
      }
      out_${u} = out_${u} * shrinks[unit / HEAD] + part;
    }
#end
    workgroupBarrier();
  }
  if (thread % SHARE == 0u) {
    shrinks[mine] = sum;
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
#end
