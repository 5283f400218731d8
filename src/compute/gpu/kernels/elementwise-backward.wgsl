// The gradients of elementwise.wgsl that are more than copies: y = f(a), or y = f(a) · b. Both results are regions of
// one buffer, as gate and up of a joined projection are.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>; // of the soft cap: y
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> result: array<vec4<f32>>;

#use elementwise_kinds
#include activations

struct ValueAndSlope {
  value: vec4<f32>,
  slope: vec4<f32>,
}

fn activate(kind: u32, x: vec4<f32>) -> ValueAndSlope {
  switch kind {
    case SILU: {
      let s = 1.0 / (1.0 + exp(-x));
      return ValueAndSlope(x * s, s + x * s * (1.0 - s));
    }
    case GELU_TANH: {
      let t = safe_tanh(GELU_TANH_SCALE * (x + GELU_TANH_CUBE * x * x * x));
      let inner = GELU_TANH_SCALE * (1.0 + 3.0 * GELU_TANH_CUBE * x * x);
      return ValueAndSlope(0.5 * x * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner);
    }
    case QUICK_GELU: {
      let s = 1.0 / (1.0 + exp(-QUICK_GELU_SCALE * x));
      return ValueAndSlope(x * s, s + QUICK_GELU_SCALE * x * s * (1.0 - s));
    }
    case SIGMOID: {
      let s = 1.0 / (1.0 + exp(-x));
      return ValueAndSlope(s, s * (1.0 - s));
    }
    case EXPM1: {
      let power = exp(x);
      return ValueAndSlope(power - 1.0, power);
    }
    default: { // GELU
      let below = 0.5 * (1.0 + erf4(x * 0.7071067811865476));
      return ValueAndSlope(x * below, below + x * 0.3989422804014327 * exp(-0.5 * x * x));
    }
  }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.width) {
    return;
  }
  let source = a[p.a_at + id.y * p.a_pitch + id.x];
  let g = gradient[p.g_at + id.y * p.g_pitch + id.x];
  let to_a = p.da_at + id.y * p.da_pitch + id.x;
  if (p.kind == SOFTCAP) {
    let share = source / p.cap;
    result[to_a] = g * (1.0 - share * share);
    return;
  }
  if (p.kind == CLAMPED) {
    let other = b[p.b_at + id.y * p.b_pitch + id.x];
    let gate = activate(QUICK_GELU, min(source, vec4<f32>(p.cap)));
    if ((p.outputs & 1u) != 0u) {
      let factor = 1.0 + clamp(other, vec4<f32>(-p.cap), vec4<f32>(p.cap));
      result[to_a] = select(g * gate.slope * factor, vec4<f32>(0.0), source > vec4<f32>(p.cap));
    }
    if ((p.outputs & 2u) != 0u) {
      result[p.db_at + id.y * p.db_pitch + id.x] = select(g * gate.value, vec4<f32>(0.0), abs(other) > vec4<f32>(p.cap));
    }
    return;
  }
  let f = activate(p.kind % GATED, source);
  if ((p.outputs & 1u) != 0u) {
    var by_a = g * f.slope;
    if (p.kind >= GATED) {
      by_a *= b[p.b_at + id.y * p.b_pitch + id.x];
    }
    result[to_a] = by_a;
  }
  if ((p.outputs & 2u) != 0u) {
    result[p.db_at + id.y * p.db_pitch + id.x] = g * f.value;
  }
}
