// Blocks of 32 numbers with one f16 scale (src/device/blocks.ts).
fn scale_of(block: u32) -> f32 {
  let at = p.scales_at + block;
  return widen_f16((scales[at / 2u] >> (16u * (at & 1u))) & 0xffffu);
}

// Four signed bytes.
fn quants4_q8(word: u32) -> vec4<f32> {
  return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

// The low halves of four bytes, less 8.
fn quants4_q4(word: u32) -> vec4<f32> {
  return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u)) - 8.0;
}
