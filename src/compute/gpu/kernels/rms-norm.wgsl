// y = x / √(mean(x²) + ε) · (offset + weight), over segments of each row: the whole row, or each head of it.

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

#include reduce

const THREADS = ${THREADS}u;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let source = p.x_at + workgroup.x * p.x_pitch + workgroup.y * p.width;
  let to = p.y_at + workgroup.x * p.y_pitch + workgroup.y * p.width;
  var squares = vec4<f32>(0.0); // every thread adds up few terms, and reductions are trees
  for (var c = thread; c < p.width; c += THREADS) {
    let value = x[source + c];
    squares = fma(value, value, squares);
  }
  let total = sum_of_all(dot(squares, vec4<f32>(1.0)), thread);
  let scale = 1.0 / sqrt(total / p.cols + p.epsilon);
  for (var c = thread; c < p.width; c += THREADS) {
    // The weight is zero beyond the last element; so must y be there, and there x is.
    y[to + c] = x[source + c] * scale * (p.offset + weight[p.weight_at + c]);
  }
}
