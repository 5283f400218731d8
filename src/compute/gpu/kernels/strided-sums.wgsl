// y[i, j] (+)= scale · Σₜ x · w, where each term's x and w lie at distances that depend on i, j and t alone: sums over the
// bases that a matrix is made of, element by element, in which nothing is shared that a product of matrices could use.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
#include stored, NAME = "x", BINDING = 1
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.y + id.z * p.rows_y;
  if (row >= p.rows || id.x >= p.padded) {
    return;
  }
  let at = p.y_at + row * p.y_pitch + id.x;
  if (id.x >= p.cols) {
    if (p.accumulate == 0u) {
      y[at] = 0.0;
    }
    return;
  }
  let x_first = p.x_at + row * p.x_row + id.x * p.x_col;
  let w_first = p.w_at + row * p.w_row + id.x * p.w_col;
  var total = 0.0;
  for (var begin = 0u; begin < p.terms; begin += 256u) {
    var part = 0.0;
    for (var t = begin; t < min(begin + 256u, p.terms); t++) {
      let x_index = x_first + t * p.x_term;
      var value = stored4_x(x_index / 4u)[x_index % 4u];
      if (p.weighted == 1u) {
        value *= w[w_first + t * p.w_term];
      }
      part += value;
    }
    total += part;
  }
  total *= p.scale;
  if (p.accumulate != 0u) {
    total += y[at];
  }
  y[at] = total;
}
