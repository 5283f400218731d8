// What a token of a text does with its queries, keys and values, which lie in one buffer: heads of q and k are normalized
// (NORMS) and turn by half rotation, q where it lies, k into rows of a cache, to which v is copied. A workgroup takes one head
// of one row, in numbers, since halves of a head may end within a vector. A cache of F16 (KV) has two of them a word, one of Q8_ROWS
// four, and the scales of blocks, two a word, behind those of a row.

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
@group(0) @binding(2) var<storage, read> cosine: array<f32>;
@group(0) @binding(3) var<storage, read> sine: array<f32>;
@group(0) @binding(4) var<storage, read> rows: array<u32>;
#if KV == "F32"
@group(0) @binding(5) var<storage, read_write> k_out: array<f32>;
@group(0) @binding(6) var<storage, read_write> v_out: array<f32>;
#else
#use dtype
#end
#if KV == "F16"
@group(0) @binding(5) var<storage, read_write> k_out: array<u32>;
@group(0) @binding(6) var<storage, read_write> v_out: array<u32>;
#end
#if KV == "Q8_ROWS"
// Two heads may have the scales of a word.
@group(0) @binding(5) var<storage, read_write> k_out: array<atomic<u32>>;
@group(0) @binding(6) var<storage, read_write> v_out: array<atomic<u32>>;
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

#if KV != "F32"
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

#if KV == "Q8_ROWS"
const BLOCK = 32u;
// What is smaller is 0 in units of its f16.
const LEAST = 0x33000000u; // 2^-25

var<workgroup> kept: array<f32, 256>; // a head of k or v

// The largest magnitude of a block of the head, as bits, which are in the order of the numbers; infinity and NaN are above all.
fn most_of(block: u32) -> u32 {
  var most = 0u;
  for (var i = BLOCK * block; i < BLOCK * (block + 1u); i++) {
    most = max(most, bitcast<u32>(kept[i]) & 0x7fffffffu);
  }
  return most;
}

fn put_word(is_v: bool, at: u32, word: u32) {
  if (is_v) { atomicStore(&v_out[at], word); } else { atomicStore(&k_out[at], word); }
}

// Half a word.
fn put_scale(is_v: bool, at: u32, shift: u32, scale: u32) {
  if (is_v) {
    atomicAnd(&v_out[at], 0xffff0000u >> shift);
    atomicOr(&v_out[at], scale << shift);
  } else {
    atomicAnd(&k_out[at], 0xffff0000u >> shift);
    atomicOr(&k_out[at], scale << shift);
  }
}

// The head in `kept` becomes that of a row, block after block.
fn keep(is_v: bool, row: u32, head: u32, thread: u32) {
  workgroupBarrier();
  for (var word = thread; word < p.head / 4u; word += THREADS) {
    let scale = bitcast<f32>(most_of(word / 8u)) / 127.0;
    let inverse = select(0.0, 1.0 / scale, bitcast<u32>(scale) >= LEAST && bitcast<u32>(scale) < 0x7f800000u);
    var packed = 0u;
    for (var i = 0u; i < 4u; i++) {
      // To the nearest, ties away from zero.
      let quotient = kept[4u * word + i] * inverse;
      let whole = clamp(i32(quotient + select(0.5, -0.5, quotient < 0.0)), -127, 127);
      packed |= (bitcast<u32>(whole) & 0xffu) << (8u * i);
    }
    put_word(is_v, row + head * p.head / 4u + word, packed);
  }
  for (var block = thread; block < p.head / BLOCK; block += THREADS) {
    let most = most_of(block);
    let scale = select(0x7e00u, round_f16(bitcast<f32>(most) / 127.0), most < 0x7f800000u);
    let place = head * p.head / BLOCK + block;
    put_scale(is_v, row + p.kv_heads * p.head / 4u + place / 2u, 16u * (place % 2u), scale);
  }
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
    let to_row = p.v_to_at + target_row * p.v_to_pitch;
    let to = 4u * to_row + number * p.head;
#if KV == "F32"
    for (var i = thread; i < p.head; i += THREADS) {
      v_out[to + i] = x[source + i];
    }
#end
#if KV == "F16"
    for (var i = 2u * thread; i < p.head; i += 2u * THREADS) {
      v_out[(to + i) / 2u] = round_f16(x[source + i]) | (round_f16(x[source + i + 1u]) << 16u);
    }
#end
#if KV == "Q8_ROWS"
    for (var i = thread; i < p.head; i += THREADS) {
      kept[i] = x[source + i];
    }
    keep(true, to_row, number, thread);
#end
    return;
  }
  if (!is_q) {
    number -= p.q_heads;
  }
  let source = 4u * select(p.k_at + row * p.k_pitch, p.q_at + row * p.q_pitch, is_q) + number * p.head;
  let to_row = p.k_to_at + target_row * p.k_to_pitch;
  let to = 4u * to_row + number * p.head;
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
#if KV == "Q8_ROWS"
  if (!is_q) {
    for (var i = thread; i < p.head; i += THREADS) {
      kept[i] = turned(source, i, angles, scale);
    }
    keep(false, to_row, number, thread);
    return;
  }
#end
#if KV == "F16"
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
