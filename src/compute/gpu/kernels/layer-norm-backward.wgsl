// The gradient of layer-norm.wgsl by x, row by row: with n = (x − mean) / √(variance + ε) and h = dy · weight,
// dx = (h − mean(h) − n · mean(h · n)) / √(variance + ε). dy · n, whose column sums are the gradient by the weight, is
// stored beside it.

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> products: array<vec4<f32>>;

#include reduce
#include row_statistics

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.x;
  let of_x = p.x_at + row * p.x_pitch;
  let of_dy = p.dy_at + row * p.dy_pitch;
  let statistics = row_statistics(of_x, thread);
  var sums = vec4<f32>(0.0);
  var dots = vec4<f32>(0.0);
  for (var c = thread; c < p.width; c += THREADS) {
    let gradient = dy[of_dy + c]; // zero beyond the last element
    let normed = (x[of_x + c] - statistics.x) * statistics.y;
    if ((p.outputs & 2u) != 0u) {
      products[p.products_at + row * p.products_pitch + c] = gradient * normed;
    }
    let h = gradient * weight[p.weight_at + c];
    sums += h;
    dots = fma(h, normed, dots);
  }
  let mean = sum_of_all(dot(sums, vec4<f32>(1.0)), thread) / f32(p.cols);
  let along = sum_of_all(dot(dots, vec4<f32>(1.0)), thread) / f32(p.cols);
  if ((p.outputs & 1u) != 0u) {
    for (var c = thread; c < p.width; c += THREADS) {
      let normed = (x[of_x + c] - statistics.x) * statistics.y;
      let value = statistics.y * (dy[of_dy + c] * weight[p.weight_at + c] - mean - normed * along);
      dx[p.dx_at + row * p.dx_pitch + c] = select(vec4<f32>(0.0), value, inside(c));
    }
  }
}
