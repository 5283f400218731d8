// What both forms of the vector path take: their parameters, x, and W as stored. INPUT says what is multiplied with W:
//   "plain"   x
//   "normed"  x / √(mean(x²) + ε) · (offset + weight)
//   "joined"  the same of x + norm(branch), which the first workgroup stores
// The root is known when all of x has been read, so sums are of x · (offset + weight), and are scaled at last.
// GATED: the rows of W behind the first `cols` are a second half, of the same columns of y = f(first) · second.
#include parameters

#include constants

#if INPUT == "joined"
#include matrix8, SCALES = 8
#else
#include matrix8, SCALES = 6
#end

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stored: array<Stored>; // W
#if INPUT != "plain"
@group(0) @binding(4) var<storage, read> weight: array<vec4<f32>>;

fn factor_at(at: u32) -> vec4<f32> {
  return p.offset + weight[p.weight_at + at];
}
#end
#if INPUT == "joined"
@group(0) @binding(3) var<storage, read> branch: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> branch_weight: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> sum: array<vec4<f32>>;
#end

// 1 / √(mean(x²) + ε) by the sum of squares of a row.
fn root(squares: f32) -> f32 {
  return 1.0 / sqrt(squares / p.size + p.epsilon);
}

// Vector `at` of a row of x, which the branch has joined; `scale` is that of the branch's row.
fn input_at(row: u32, at: u32, scale: f32) -> vec4<f32> {
  let value = x[p.x_at + row * p.x_pitch + at];
#if INPUT == "joined"
  return value + branch[p.branch_at + row * p.branch_pitch + at] * scale * (p.offset + branch_weight[p.branch_weight_at + at]);
#else
  return value;
#end
}
