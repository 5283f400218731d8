// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011) and the element maps of philox-v1: a library, without entry points.
// src/compute/random/philox.ts holds the same functions; both give the same bits.
//
// The words of block `b` (of 16 elements; 8 for very sparse) of stream s (0: A, 1: B):
//   philox4x32_10(vec4<u32>(b_low, b_high, s, 0u), key)

const PHILOX_MULTIPLIER_0 = 0xd2511f53u;
const PHILOX_MULTIPLIER_1 = 0xcd9e8d57u;
const PHILOX_WEYL = vec2<u32>(0x9e3779b9u, 0xbb67ae85u);

// √(765/257)/255 as a number of 13 bits and the f32 rest: the first product is exact in f32, so that fusing the
// multiplication with the addition, which a driver may do, changes nothing. The rest is multiplied by 2b and not by
// 2b − 255: some drivers turn x·a + x·b into x·(a + b), and that sum is rounded.
const PHILOX_DENSE_HIGH = 0x1.bb68p-8f;
const PHILOX_DENSE_LOW = 0x1.187404p-25f;

// (low, high) words of the 64-bit product, from 16-bit limbs: WGSL has no 64-bit integers.
fn philox_multiply(a: u32, b: u32) -> vec2<u32> {
  let a_low = a & 0xffffu;
  let a_high = a >> 16u;
  let b_low = b & 0xffffu;
  let b_high = b >> 16u;
  let middle = a_high * b_low + ((a_low * b_low) >> 16u);
  let lower = (middle & 0xffffu) + a_low * b_high;
  return vec2<u32>(a * b, a_high * b_high + (middle >> 16u) + (lower >> 16u));
}

fn philox_round(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
  let p0 = philox_multiply(PHILOX_MULTIPLIER_0, counter.x);
  let p1 = philox_multiply(PHILOX_MULTIPLIER_1, counter.z);
  return vec4<u32>(p1.y ^ counter.y ^ key.x, p1.x, p0.y ^ counter.w ^ key.y, p0.x);
}

fn philox4x32_10(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
  var c = counter;
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    c = philox_round(c, k);
    k += PHILOX_WEYL;
  }
  return c;
}

// Dense, four elements of one word, in units of √(765/257)/255: byte b → 2b − 255, which bf16 holds exactly.
fn philox_units(word: u32) -> vec4<f32> {
  let bytes = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);
  return vec4<f32>(2 * vec4<i32>(bytes) - vec4<i32>(255));
}

// Dense, four elements of one word: byte b → (2b − 255)/255 · √(765/257).
fn philox_dense(word: u32) -> vec4<f32> {
  let bytes = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);
  let odd = philox_units(word);
  let rest = vec4<f32>(bytes) * (2.0 * PHILOX_DENSE_LOW) - 255.0 * PHILOX_DENSE_LOW;
  return odd * PHILOX_DENSE_HIGH + rest;
}

// Values on a grid that lacks the last `dropped` bits of f32 (bf16: 16, f16: 13, f32: 0), to nearest, ties to even, for
// values that are normal numbers there. All that are dense are: the least is 0.0068.
fn philox_on_grid(values: vec4<f32>, dropped: u32) -> vec4<f32> {
  let bits = bitcast<vec4<u32>>(values);
  let rest = (1u << dropped) - 1u;
  let odd = (bits >> vec4<u32>(dropped)) & vec4<u32>(rest & 1u);
  return bitcast<vec4<f32>>((bits + vec4<u32>(rest >> 1u) + odd) & vec4<u32>(~rest));
}

// Sparse, four elements of one word: b < 43 → −scale, b > 212 → +scale, else 0; scale = f32(√(128/43)).
fn philox_sparse(word: u32, scale: f32) -> vec4<f32> {
  let bytes = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu);
  let zero = vec4<f32>(0.0);
  return select(zero, vec4<f32>(scale), bytes > vec4<u32>(212u)) + select(zero, vec4<f32>(-scale), bytes < vec4<u32>(43u));
}

// Very sparse, two elements of one word: u < threshold → −scale, u ≥ 65536 − threshold → +scale, else 0;
// threshold = round(32768/√min), scale = f32(√(32768/threshold)).
fn philox_very_sparse(word: u32, threshold: u32, scale: f32) -> vec2<f32> {
  let bits = vec2<u32>(word & 0xffffu, word >> 16u);
  let zero = vec2<f32>(0.0);
  return select(zero, vec2<f32>(scale), bits >= vec2<u32>(65536u - threshold)) +
    select(zero, vec2<f32>(-scale), bits < vec2<u32>(threshold));
}
