// Numbers as checkpoints store them, four at a time, in words of 32 bits: f32 one a word, f16 and bf16 two, low half
// first. Only integer operations convert, because WGSL leaves the rounding of pack2x16float and the fate of subnormal
// numbers to the driver.
#use dtype_codes

// 16 bits in the low half of a word → f32.
fn widen_f16(bits: u32) -> f32 {
  let sign = (bits & 0x8000u) << 16u;
  let exponent = (bits >> 10u) & 0x1fu;
  let mantissa = bits & 0x3ffu;
  if (exponent == 0u) {
    return bitcast<f32>(bitcast<u32>(f32(mantissa) * 5.9604644775390625e-8) | sign); // subnormal: units of 2^-24
  }
  let wide = select(exponent + 112u, 255u, exponent == 31u);
  return bitcast<f32>(sign | (wide << 23u) | (mantissa << 13u));
}

fn widen_bf16(bits: u32) -> f32 {
  return bitcast<f32>(bits << 16u);
}

// f32 → 16 bits, to nearest, ties to even; NaN stays NaN, overflow becomes infinity.
fn round_bf16(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return (bits >> 16u) | 0x40u;
  }
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

fn round_f16(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return sign | 0x7e00u;
  }
  if (magnitude >= 0x47800000u) {
    return sign | 0x7c00u; // 65536 and more
  }
  if (magnitude >= 0x38800000u) { // 2^-14 and more: normal
    let rounded = magnitude + 0xfffu + ((magnitude >> 13u) & 1u);
    return sign | ((rounded >> 13u) - (112u << 10u));
  }
  if (magnitude < 0x33000000u) {
    return sign; // below 2^-25
  }
  let shift = 126u - (magnitude >> 23u); // 14 … 24
  let mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  let half = (1u << (shift - 1u)) - 1u;
  return sign | ((mantissa + half + ((mantissa >> shift) & 1u)) >> shift);
}

// Four signed bytes.
fn quants4_q8(word: u32) -> vec4<f32> {
  return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

// Two words → four numbers, and back.
fn widen4_f16(words: vec2<u32>) -> vec4<f32> {
  return vec4<f32>(
    widen_f16(words.x & 0xffffu), widen_f16(words.x >> 16u),
    widen_f16(words.y & 0xffffu), widen_f16(words.y >> 16u),
  );
}

fn widen4_bf16(words: vec2<u32>) -> vec4<f32> {
  return bitcast<vec4<f32>>(vec4<u32>(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
}

fn round4_f16(values: vec4<f32>) -> vec2<u32> {
  return vec2<u32>(
    round_f16(values.x) | (round_f16(values.y) << 16u),
    round_f16(values.z) | (round_f16(values.w) << 16u),
  );
}

fn round4_bf16(values: vec4<f32>) -> vec2<u32> {
  return vec2<u32>(
    round_bf16(values.x) | (round_bf16(values.y) << 16u),
    round_bf16(values.z) | (round_bf16(values.w) << 16u),
  );
}
