// y = f(a, b), element by element over rows of vectors. One kernel serves every f: the choice is a uniform.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

#include activate

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.width) {
    return;
  }
  let source = p.a_at + id.y * p.a_pitch + id.x;
  let other = p.b_at + id.y * p.b_pitch + id.x;
  let to = p.y_at + id.y * p.y_pitch + id.x;
  if (p.kind == ADD) {
    y[to] = a[source] + b[other];
  } else if (p.kind == SOFTCAP) {
    y[to] = p.cap * safe_tanh(a[source] / p.cap);
  } else if (p.kind == SCALE) {
    y[to] = p.cap * a[source];
  } else if (p.kind == MULTIPLY) {
    y[to] = a[source] * b[other];
  } else if (p.kind == ACCUMULATE) {
    y[to] += a[source];
  } else if (p.kind == EXPM1) {
    y[to] = exp(a[source]) - 1.0;
  } else if (p.kind == CLAMPED) {
    y[to] = activate(QUICK_GELU, min(a[source], vec4<f32>(p.cap))) * (1.0 + clamp(b[other], vec4<f32>(-p.cap), vec4<f32>(p.cap)));
  } else if (p.kind >= GATED) {
    y[to] = activate(p.kind - GATED, a[source]) * b[other];
  } else {
    y[to] = activate(p.kind, a[source]);
  }
}
