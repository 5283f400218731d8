// Rows of x, perhaps normalised first, rounded for products of whole numbers, as the CPU device rounds them: 256 terms of a row
// to 15 bits and a scale. A number n is 256 · high + low, both signed bytes; four neighbours are a word of highs and one of
// lows. A workgroup rounds 256 terms; what they need of the whole row each of its workgroups sums up anew.
struct Parameters {
  x_width: u32, // vectors of 4 that a row of x has
  halves_pitch: u32, // vectors of 4 from row to row of what is rounded, and scales
  scales_pitch: u32,
  size: f32, // elements in a row of x
  x_at: u32,
  x_pitch: u32,
  offset: f32,
  epsilon: f32,
  weight_at: u32,
  branch_weight_at: u32,
  branch_at: u32,
  branch_pitch: u32,
  sum_at: u32,
  sum_pitch: u32,
  pad0: u32,
  pad1: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;
#include normed_input
@group(0) @binding(2) var<storage, read_write> halves: array<vec2<u32>>;
#if INPUT != "joined"
@group(0) @binding(3) var<storage, read> unread: array<u32>;
#end
#if !NORMED
@group(0) @binding(4) var<storage, read> unread_too: array<u32>;
#end
@group(0) @binding(5) var<storage, read_write> scales: array<f32>;
#if NORMED
#include reduce
#end

const THREADS = ${THREADS}u;
const MOST = 16383.0;
// What is smaller has no inverse.
const LEAST = 0x0d800000u; // 2^-100

// Bits of magnitudes are in the order of the numbers, and infinity and NaN are above all of them.
var<workgroup> largest: atomic<u32>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.y;
  let at = workgroup.x * THREADS + thread;
  let inside = at < p.x_width;
  var joined = 0.0;
#if INPUT == "joined"
  var all = vec4<f32>(0.0);
  for (var c = thread; c < p.x_width; c += THREADS) {
    let value = branch[p.branch_at + row * p.branch_pitch + c];
    all = fma(value, value, all);
  }
  joined = root(sum_of_all(dot(all, vec4<f32>(1.0)), thread));
#end
  var value = select(vec4<f32>(0.0), input_at(row, min(at, p.x_width - 1u), joined), inside);
#if INPUT == "joined"
  if (inside) {
    sum[p.sum_at + row * p.sum_pitch + at] = value;
  }
#end
#if NORMED
  var square = vec4<f32>(0.0);
  for (var c = thread; c < p.x_width; c += THREADS) {
    let other = input_at(row, c, joined);
    square = fma(other, other, square);
  }
  value *= factor_at(min(at, p.x_width - 1u)) * root(sum_of_all(dot(square, vec4<f32>(1.0)), thread));
#end
  let bits = bitcast<vec4<u32>>(value) & vec4<u32>(0x7fffffffu);
  atomicMax(&largest, max(max(bits.x, bits.y), max(bits.z, bits.w)));
  workgroupBarrier();
  let most = atomicLoad(&largest);
  let finite = most < 0x7f800000u;
  let fits = most >= LEAST && finite;
  let inverse = select(0.0, MOST / bitcast<f32>(most), fits);
  let whole = clamp(vec4<i32>(round(value * inverse)), vec4<i32>(-16383), vec4<i32>(16383));
  let high = (whole + 128) >> vec4<u32>(8u);
  if (inside) {
    halves[row * p.halves_pitch + at] = vec2<u32>(pack4xI8(high), pack4xI8(whole - 256 * high));
  }
  if (thread == 0u) {
    // What is not finite makes all sums NaN.
    let scale = select(0.0, bitcast<f32>(most) / MOST, fits);
    scales[row * p.scales_pitch + workgroup.x] = select(bitcast<f32>(most | 0x7fc00000u), scale, finite);
  }
}
