// What rows of groups have in common, group g being rows begins[g] … begins[g + 1] − 1 of x:
//   KIND "add":    y[r] = x[r] + bias of r's group
//   KIND "sums":   y = Σ x over the rows of each group, one behind the other; of the rows of x that are bound, behind what y has of those before
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> begins: array<u32>;
#if KIND == "add"
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
#else
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
#end

const MOST_TERMS = 256u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
#if KIND == "add"
  if (id.x >= (p.cols + 3u) / 4u * 4u) {
    return;
  }
  var value = 0.0;
  if (id.x < p.cols) {
    // The last group that begins at the row or before it, of fewer than 2^17.
    let row = p.first_row + id.y;
    var group = 0u;
    for (var step = 65536u; step > 0u; step /= 2u) {
      if (group + step < p.groups && begins[p.begins_at + group + step] <= row) {
        group += step;
      }
    }
    value = x[p.x_at + id.y * p.x_pitch + id.x] + bias[p.bias_at + group * p.cols + id.x];
  }
  y[p.y_at + id.y * p.y_pitch + id.x] = value;
#else
  let count = p.groups * p.cols;
  let at = id.y * p.width + id.x;
  if (at >= (count + 3u) / 4u * 4u) {
    return;
  }
  var total = 0.0;
  if (at < count) {
    let group = at / p.cols;
    let end = min(begins[p.begins_at + group + 1u], p.first_row + p.rows);
    for (var first = max(begins[p.begins_at + group], p.first_row); first < end; first += MOST_TERMS) {
      var sum = 0.0;
      for (var row = first; row < min(first + MOST_TERMS, end); row++) {
        sum += x[p.x_at + (row - p.first_row) * p.x_pitch + at % p.cols];
      }
      total += sum;
    }
    if (p.first_row > 0u) {
      total += y[p.y_at + at];
    }
  }
  y[p.y_at + at] = total;
#end
}
