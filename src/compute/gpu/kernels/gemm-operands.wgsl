// What both forms of a product of matrices have: their parameters, and what becomes of the sums. The operands are theirs.
#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

// Stores four neighbors of a row; what lies beyond the last column becomes zero.
fn store(row: u32, col: u32, product: vec4<f32>) {
  if (row >= p.rows || col >= p.cols) {
    return;
  }
  var value = p.scale * product;
  if ((p.flags & HAS_BIAS) != 0u) {
    value += bias[p.bias_at + col / 4u];
  }
  if ((p.flags & HAS_RESIDUAL) != 0u) {
    value += residual[p.residual_at + row * p.residual_pitch + col / 4u];
  }
  let at = p.y_at + row * p.y_pitch + col / 4u;
  if ((p.flags & ACCUMULATE) != 0u) {
    value += y[at];
  }
  let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
  y[at] = select(vec4<f32>(0.0), value, inside);
}
