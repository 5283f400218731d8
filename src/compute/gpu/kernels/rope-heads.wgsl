// What a token of a text does with its queries, keys and values, which lie in one buffer: heads of q and k are normalized
// (NORMS) and turn by half rotation, q where it lies, k into rows of a cache, to which v is copied. A workgroup takes one head
// of one row, in numbers, since halves of a head may end within a vector. A cache of F16 (HALVES) has two of them a word.

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> cosine: array<f32>;
@group(0) @binding(3) var<storage, read> sine: array<f32>;
@group(0) @binding(4) var<storage, read> rows: array<u32>;
#if HALVES
@group(0) @binding(5) var<storage, read_write> k_out: array<u32>;
@group(0) @binding(6) var<storage, read_write> v_out: array<u32>;

#use dtype
#else
@group(0) @binding(5) var<storage, read_write> k_out: array<f32>;
@group(0) @binding(6) var<storage, read_write> v_out: array<f32>;
#end
#if NORMS
@group(0) @binding(7) var<storage, read> q_weight: array<f32>;
@group(0) @binding(8) var<storage, read> k_weight: array<f32>;

#include reduce
#end

const THREADS = ${THREADS}u;

// Element i of a head that begins at `at`, normalized.
fn element(at: u32, i: u32, is_q: bool, scale: f32) -> f32 {
#if NORMS
  var weight: f32;
  if (is_q) { weight = q_weight[4u * p.q_weight_at + i]; } else { weight = k_weight[4u * p.k_weight_at + i]; }
  return x[at + i] * scale * (p.offset + weight);
#else
  return x[at + i];
#end
}

#if HALVES
// Element i of a head of k, turned; `angles` is where those of its row begin.
fn turned(at: u32, i: u32, angles: u32, scale: f32) -> f32 {
  let own = element(at, i, false, scale);
  if (i >= 2u * p.half) {
    return own;
  }
  if (p.neighbors == 1u) {
    let sine_of = sine[angles + i / 2u] * select(1.0, -1.0, i % 2u == 0u);
    return own * cosine[angles + i / 2u] + element(at, select(i - 1u, i + 1u, i % 2u == 0u), false, scale) * sine_of;
  }
  if (i < p.half) {
    return own * cosine[angles + i] - element(at, i + p.half, false, scale) * sine[angles + i];
  }
  return own * cosine[angles + i - p.half] + element(at, i - p.half, false, scale) * sine[angles + i - p.half];
}

fn put(is_q: bool, at: u32, to: u32, value: f32) { x[at] = value; }
#else
fn put(is_q: bool, at: u32, to: u32, value: f32) {
  if (is_q) { x[at] = value; } else { k_out[to] = value; }
}
#end

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.y;
  var number = workgroup.x;
  let is_q = number < p.q_heads;
  var target_row = row;
  if (p.by_index == 1u) {
    target_row = rows[p.rows_at + row];
  }
  if (number >= p.q_heads + p.kv_heads) {
    number -= p.q_heads + p.kv_heads;
    let source = 4u * (p.v_at + row * p.v_pitch) + number * p.head;
    let to = 4u * (p.v_to_at + target_row * p.v_to_pitch) + number * p.head;
#if HALVES
    for (var i = 2u * thread; i < p.head; i += 2u * THREADS) {
      v_out[(to + i) / 2u] = round_f16(x[source + i]) | (round_f16(x[source + i + 1u]) << 16u);
    }
#else
    for (var i = thread; i < p.head; i += THREADS) {
      v_out[to + i] = x[source + i];
    }
#end
    return;
  }
  if (!is_q) {
    number -= p.q_heads;
  }
  let source = 4u * select(p.k_at + row * p.k_pitch, p.q_at + row * p.q_pitch, is_q) + number * p.head;
  let to = 4u * (p.k_to_at + target_row * p.k_to_pitch) + number * p.head;
  var scale = 1.0;
#if NORMS
  var squares = 0.0;
  for (var i = thread; i < p.head; i += THREADS) {
    squares = fma(x[source + i], x[source + i], squares);
  }
  scale = 1.0 / sqrt(sum_of_all(squares, thread) / f32(p.head) + p.epsilon);
  storageBarrier(); // every thread has read the head, which others write now
#end
  let angles = 4u * (p.angle_at + row * p.angle_pitch);
#if HALVES
  if (!is_q) {
    for (var i = 2u * thread; i < p.head; i += 2u * THREADS) {
      let first = round_f16(turned(source, i, angles, scale));
      k_out[(to + i) / 2u] = first | (round_f16(turned(source, i + 1u, angles, scale)) << 16u);
    }
    return;
  }
#end
  // Whoever turns a pair reads and stores both of it.
  for (var i = thread; i < p.head - p.half; i += THREADS) {
    // Of a pair the first stands at i, or at 2i before its neighbor; what does not turn comes behind all pairs.
    let turns = i < p.half;
    let at = select(i + p.half, select(i, 2u * i, p.neighbors == 1u), turns);
    var first = element(source, at, is_q, scale);
    if (turns) {
      let other = select(i + p.half, 2u * i + 1u, p.neighbors == 1u);
      let second = element(source, other, is_q, scale);
      let c = cosine[angles + i];
      let s = sine[angles + i];
      put(is_q, source + other, to + other, second * c + first * s);
      first = first * c - second * s;
    }
    put(is_q, source + at, to + at, first);
  }
}
