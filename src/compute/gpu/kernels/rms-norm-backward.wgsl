// The gradient of rms-norm.wgsl by x, of each segment of each row: with s = 1 / √(mean(x²) + ε) and
// h = gradient · (offset + weight), dx = s · (h − x · s² · mean(h · x)). s is stored for the gradient by the weight.

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dx: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> scales: array<f32>;

#include reduce

const THREADS = ${THREADS}u;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let segment = workgroup.y * p.width;
  let of_x = p.x_at + workgroup.x * p.x_pitch + segment;
  let of_g = p.g_at + workgroup.x * p.g_pitch + segment;
  let to = p.dx_at + workgroup.x * p.dx_pitch + segment;
  var squares = vec4<f32>(0.0);
  var products = vec4<f32>(0.0);
  for (var c = thread; c < p.width; c += THREADS) {
    let value = x[of_x + c];
    squares = fma(value, value, squares);
    products = fma(value, gradient[of_g + c] * (p.offset + weight[p.weight_at + c]), products);
  }
  let scale = 1.0 / sqrt(sum_of_all(dot(squares, vec4<f32>(1.0)), thread) / p.cols + p.epsilon);
  let shared_part = sum_of_all(dot(products, vec4<f32>(1.0)), thread) / p.cols * scale * scale;
  if (thread == 0u && (p.outputs & 2u) != 0u) {
    scales[workgroup.x * p.segments + workgroup.y] = scale;
  }
  if ((p.outputs & 1u) != 0u) {
    for (var c = thread; c < p.width; c += THREADS) {
      let h = gradient[of_g + c] * (p.offset + weight[p.weight_at + c]);
      dx[to + c] = scale * (h - x[of_x + c] * shared_part);
    }
  }
}
