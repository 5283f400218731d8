// Rows of x rounded for products of whole numbers, as the CPU device rounds them: 256 terms of a row to 15 bits and a scale.
// A number n is 256 · high + low, both signed bytes; four neighbors are a word of highs and one of lows. A workgroup rounds
// 256 terms.
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> halves: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> scales: array<f32>;

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
  let value = select(vec4<f32>(0.0), x[p.x_at + row * p.x_pitch + min(at, p.x_width - 1u)], inside);
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
