// Blocks of 32 numbers (src/compute/device/blocks.ts): the scale of the vector of 4 at `vector`.
fn scale_of(vector: u32) -> f32 {
#if DTYPE == "Q6_K"
  return bitcast<f32>(scales[2u * p.scales_at + vector / 4u]);
#else
  let at = p.scales_at + vector / 8u;
  let bits = (scales[at / 2u] >> (16u * (at & 1u))) & 0xffffu;
#if DTYPE == "MXFP4"
  return bitcast<f32>(bits << 16u);
#else
  return widen_f16(bits);
#end
#end
}

// What the low halves of four bytes stand for.
fn quants4_halves(word: u32) -> vec4<f32> {
  let halves = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
#if DTYPE == "MXFP4"
  // The magnitudes 0, 1, 2, 3, 4, 6, 8, 12, four bits each.
  let quants = vec4<f32>((vec4<u32>(0xc8643210u) >> ((halves & vec4<u32>(7u)) * 4u)) & vec4<u32>(15u));
  return select(quants, -quants, halves > vec4<u32>(7u));
#else
  return vec4<f32>(halves) - 8.0;
#end
}

// For products of whole numbers: four of them as signed bytes. Those of Q4_0 are left 16 times too large, since a subtraction
// would have to carry.
fn wholes_q4(word: u32) -> u32 {
  return ((word << 4u) & 0xf0f0f0f0u) ^ 0x80808080u;
}

// What such bytes of the block of a vector are to be multiplied by.
fn wholes_scale(vector: u32) -> f32 {
#if DTYPE == "Q4_0"
  return scale_of(vector) / 16.0;
#else
  return scale_of(vector);
#end
}
