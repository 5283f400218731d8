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
// Queries are counted as pairs of a token and a head of one group: pair f is token f / group, head f % group.
// Of 8×8 threads each has 4 rows × 4 columns of a tile of scores.

#include parameters

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

#if SOFTCAP
#include safe_tanh
#end

fn capped(score: vec4<f32>) -> vec4<f32> {
#if SOFTCAP
  return p.cap * safe_tanh(score / p.cap);
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

const THREADS = 64u;
const TILE = 32u; // rows and columns; sums run over so many at once
const SLAB = 4u; // vectors of the head that the products take at once

var<workgroup> weights: array<vec4<f32>, 256>; // [row][column / 4]
var<workgroup> slopes: array<vec4<f32>, 256>;
// Of scores, [line % 4][line / 4][4 vectors], with a vector unused behind each line and four behind 8 of them, so that what
// neighboring threads read lies in different banks; then of rows, [row][8 vectors].
const LINE = 5u;
const LINES = 44u;
var<workgroup> slab0: array<vec4<f32>, 256>;
var<workgroup> slab1: array<vec4<f32>, 256>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tx = thread % 8u;
  let ty = thread / 8u;
  let kv_head = workgroup.y;
  let columns = ${COLUMNS};
  let first_column = (p.first_tile + workgroup.x) * TILE;
  let last_column = min(first_column + TILE, columns) - 1u;
  let column = vec4<u32>(first_column + tx * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
#if PASS == "keys"
  let begin = first_pair(first_column);
  let end = p.tokens * p.group;
#else
  let mine = min(column, vec4<u32>(last_column));
#for n in 0..4
  let stats_${n} = stats_of(mine[${n}], kv_head);
#end
  let log_sum = vec4<f32>(stats_0.x, stats_1.x, stats_2.x, stats_3.x);
  let offset = vec4<f32>(stats_0.y, stats_1.y, stats_2.y, stats_3.y);
  let first_seen = vec4<u32>(first_key(stats_0), first_key(stats_1), first_key(stats_2), first_key(stats_3));
  let last_seen = vec4<u32>(last_key(stats_0), last_key(stats_1), last_key(stats_2), last_key(stats_3));
  let range = seen_by_any(
    thread,
    min(min(first_seen.x, first_seen.y), min(first_seen.z, first_seen.w)),
    max(max(last_seen.x, last_seen.y), max(last_seen.z, last_seen.w)),
  );
  let begin = range.x;
  let end = range.y + 1u;
#end
  // In the sums over rows a thread has vector tx of a part of the head for 4 columns.
#for n in 0..4
  let own_${n} = first_column + ty * 4u + ${n}u;
#for o in 0..RESULTS
  let out${o}_${n} = p.out${o}_at + element_of_${COLUMN}(min(own_${n}, last_column), kv_head, p.out${o}_pitch);
  for (var d = tx; d < p.head && own_${n} <= last_column; d += 8u) {
    out${o}[out${o}_${n} + d] = vec4<f32>(0.0);
  }
#end
#end
  // This thread's share of the loads of a slab: vector `thread % 4` of rows and columns thread / 4 and thread / 4 + 16.
  let vector = thread % 4u;
  for (var tile = begin; tile < end; tile += TILE) {
    let tile_end = min(tile + TILE, end);
#if PASS == "keys"
    // Pairs that see keys behind or before these alone add nothing.
    let stats_mine = stats_of(min(tile + thread % TILE, tile_end - 1u), kv_head);
    let range = seen_by_any(thread, first_key(stats_mine), last_key(stats_mine));
    if (range.x > last_column || range.y < first_column) {
      continue;
    }
#end
#for o in 0..2
#for i in 0..4
    var s${o}_${i} = vec4<f32>(0.0);
#end
    for (var slab = 0u; slab < p.head; slab += SLAB) {
      let d = min(slab + vector, p.head - 1u);
      workgroupBarrier();
#for h in 0..2
      {
        let line = thread / 4u + ${16 * h}u;
        let row = min(tile + line, tile_end - 1u);
        let col = min(first_column + line, last_column);
        let inside = slab + vector < p.head;
        let r = rows${o}[p.rows${o}_at + element_of_${ROW}(row, kv_head, p.rows${o}_pitch) + d];
        let c = cols${o}[p.cols${o}_at + element_of_${COLUMN}(col, kv_head, p.cols${o}_pitch) + d];
        let at = line % 4u * LINES + line / 4u * LINE + vector;
        slab0[at] = select(vec4<f32>(0.0), r, inside);
        slab1[at] = select(vec4<f32>(0.0), c, inside);
      }
#end
      workgroupBarrier();
      for (var v = 0u; v < SLAB; v++) {
#for i in 0..4
        let r_${i} = slab0[${i}u * LINES + ty * LINE + v];
        let c_${i} = slab1[${i}u * LINES + tx * LINE + v];
#end
#for t in 0..4
        {
          let c = vec4<f32>(c_0[${t}], c_1[${t}], c_2[${t}], c_3[${t}]);
#for i in 0..4
          s${o}_${i} = fma(vec4<f32>(r_${i}[${t}]), c, s${o}_${i});
#end
        }
#end
      }
    }
#end
#for i in 0..4
    {
      let row = tile + ty * 4u + ${i}u;
#if PASS == "keys"
      let stats_row = stats_of(min(row, end - 1u), kv_head);
      let log_sum = vec4<f32>(stats_row.x);
      let offset = vec4<f32>(stats_row.y);
      let seen = (column >= vec4<u32>(first_key(stats_row))) & (column <= vec4<u32>(last_key(stats_row)));
#else
      let seen = (vec4<u32>(row) >= first_seen) & (vec4<u32>(row) <= last_seen);
#end
      let weighed = weigh(s0_${i}, s1_${i}, log_sum, offset, seen & vec4<bool>(row < end));
      weights[(ty * 4u + ${i}u) * 8u + tx] = weighed.weight;
      slopes[(ty * 4u + ${i}u) * 8u + tx] = weighed.slope;
    }
#end
    for (var first = 0u; first < p.head; first += 8u) {
      workgroupBarrier();
      for (var unit = thread; unit < TILE * 8u; unit += THREADS) {
        let row = min(tile + unit / 8u, tile_end - 1u);
        let d = min(first + unit % 8u, p.head - 1u);
#for o in 0..RESULTS
        slab${o}[unit] = rows${o}[p.rows${o}_at + element_of_${ROW}(row, kv_head, p.rows${o}_pitch) + d];
#end
      }
      workgroupBarrier();
#for o in 0..RESULTS
#for n in 0..4
      var t${o}_${n} = vec4<f32>(0.0);
#end
#end
      for (var row = 0u; row < TILE; row++) {
#for o in 0..RESULTS
        let r${o} = slab${o}[row * 8u + tx];
#if o == 0
        let f${o} = slopes[row * 8u + ty];
#else
        let f${o} = weights[row * 8u + ty];
#end
#for n in 0..4
        t${o}_${n} = fma(vec4<f32>(f${o}[${n}]), r${o}, t${o}_${n});
#end
#end
      }
#for o in 0..RESULTS
#for n in 0..4
      if (own_${n} <= last_column && first + tx < p.head) {
        out${o}[out${o}_${n} + first + tx] += t${o}_${n};
      }
#end
#end
    }
  }
}

// The least of the threads' first keys and the greatest of their last ones (below 2^24), in uniform control flow; by way
// of the slabs, because nothing is left of the 16 KB that every GPU has.
fn seen_by_any(thread: u32, first: u32, last: u32) -> vec2<u32> {
  workgroupBarrier();
  slab0[thread] = vec4<f32>(f32(first));
  slab1[thread] = vec4<f32>(f32(last));
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      slab0[thread] = min(slab0[thread], slab0[thread + half]);
      slab1[thread] = max(slab1[thread], slab1[thread + half]);
    }
  }
  return vec2<u32>(u32(workgroupUniformLoad(&slab0[0]).x), u32(workgroupUniformLoad(&slab1[0]).x));
}
