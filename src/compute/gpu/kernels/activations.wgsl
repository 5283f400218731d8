// What activations and their slopes are made of.
const GELU_TANH_SCALE = 0.7978845608028654; // √(2/π)
const GELU_TANH_CUBE = 0.044715;
const QUICK_GELU_SCALE = 1.702;

#include safe_tanh

// Abramowitz and Stegun 7.1.26, |error| ≤ 1.5e-7.
fn erf4(x: vec4<f32>) -> vec4<f32> {
  let t = 1.0 / (1.0 + 0.3275911 * abs(x));
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return sign(x) * (1.0 - series * exp(-x * x));
}
