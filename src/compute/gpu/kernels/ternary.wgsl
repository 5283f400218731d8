// The first four of a word's two-bit codes (src/compute/device/matrix-storage.ts), as −1, 0 and 1: what they are multiplied by is the caller's.
fn ternary4(word: u32) -> vec4<f32> {
  let codes = bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(30u, 28u, 26u, 24u)) >> vec4<u32>(30u); // 0, 1, −2
  return vec4<f32>(max(codes, vec4<i32>(-1)));
}
