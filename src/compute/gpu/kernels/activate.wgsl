// Activations by their kinds, those of ELEMENTWISE in src/compute/device/families/elementwise.ts.
#use elementwise_kinds
#include activations

fn activate(kind: u32, x: vec4<f32>) -> vec4<f32> {
  switch kind {
    case SILU: { return x / (1.0 + exp(-x)); }
    case GELU_TANH: { return 0.5 * x * (1.0 + safe_tanh(GELU_TANH_SCALE * (x + GELU_TANH_CUBE * x * x * x))); }
    case GELU: { return 0.5 * x * (1.0 + erf4(x * 0.7071067811865476)); }
    case QUICK_GELU: { return x / (1.0 + exp(-QUICK_GELU_SCALE * x)); }
    case SIGMOID: { return 1.0 / (1.0 + exp(-x)); }
    default: { return x; } // COPY
  }
}
