// tanh of some drivers overflows; beyond 15 it is ±1 in f32 anyway. NaN stays NaN, which `clamp` would make a number of.
fn safe_tanh(x: vec4<f32>) -> vec4<f32> {
  let is_nan = (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
  return select(tanh(clamp(x, vec4<f32>(-15.0), vec4<f32>(15.0))), x, is_nan);
}
