// Rows by place: each row of `places` belongs to a row of the other matrix.
//   KIND "spread":   y[places[t, i]] = scale · factors[t, i] · x[t]
//   KIND "mix":      y[t] = scale · Σᵢ factors[t, i] · x[places[t, i]] + residual[t]
//   KIND "factors":  y[t, i] = scale · dy[t] · x[places[t, i]], a workgroup each
#include parameters

#include constants

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> places: array<u32>;
#if KIND == "factors"
@group(0) @binding(3) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

#include reduce
#else
@group(0) @binding(3) var<storage, read> factors: array<f32>;
#if KIND == "spread"
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;
#else
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;
#end

fn factor_at(row: u32, i: u32) -> f32 {
  if ((p.flags & HAS_FACTORS) == 0u) {
    return p.scale;
  }
  return p.scale * factors[p.factors_at + row * p.factors_pitch + i];
}
#end

const THREADS = ${THREADS}u;

fn place_at(row: u32, i: u32) -> u32 {
  return places[p.places_at + row * p.places_pitch + i];
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
#if KIND == "factors"
  let row = workgroup.y;
  let i = workgroup.x;
  if (i >= p.each) {
    if (thread == 0u) {
      y[(p.y_at + row * p.y_pitch) * 4u + i] = 0.0;
    }
    return;
  }
  let source = p.x_at + place_at(row, i) * p.x_pitch;
  let gradient = p.dy_at + row * p.dy_pitch;
  var sum = 0.0; // every thread adds up few terms, and reductions are trees
  for (var col = thread; col < p.width; col += THREADS) {
    sum += dot(dy[gradient + col], x[source + col]);
  }
  let total = sum_of_all(sum, thread);
  if (thread == 0u) {
    y[(p.y_at + row * p.y_pitch) * 4u + i] = p.scale * total;
  }
#else
  let col = workgroup.x * THREADS + thread;
  if (col >= p.width) {
    return;
  }
#if KIND == "spread"
  let row = workgroup.z;
  let value = factor_at(row, workgroup.y) * x[p.x_at + row * p.x_pitch + col];
  y[p.y_at + place_at(row, workgroup.y) * p.y_pitch + col] = value;
#else
  let row = workgroup.y;
  var sum = vec4<f32>(0.0);
  for (var i = 0u; i < p.each; i++) {
    sum += factor_at(row, i) * x[p.x_at + place_at(row, i) * p.x_pitch + col];
  }
  if ((p.flags & HAS_RESIDUAL) != 0u) {
    sum += residual[p.residual_at + row * p.residual_pitch + col];
  }
  y[p.y_at + row * p.y_pitch + col] = sum;
#end
#end
}
