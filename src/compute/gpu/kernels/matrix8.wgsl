// As stored.wgsl, eight neighbors at a time: those at `8 · k` of the row that begins at `row`, which is counted in vectors
// of 16 bytes, in formats of blocks in groups of 8 elements. What lies beyond `p.x_width` vectors of 4 is undefined.
// Scales of blocks are the binding SCALES.
#include dtype
struct Eight {
  first: vec4<f32>,
  second: vec4<f32>,
}
#if DTYPE == "F32"
alias Stored = vec4<f32>;
fn load8(row: u32, k: u32) -> Eight {
  return Eight(stored[row + 2u * k], stored[row + min(2u * k + 1u, p.x_width - 1u)]);
}
#end
#if DTYPE == "F16"
alias Stored = vec4<u32>;
fn load8(row: u32, k: u32) -> Eight {
  let packed = stored[row + k];
  return Eight(widen4_f16(packed.xy), widen4_f16(packed.zw));
}
#end
#if DTYPE == "BF16"
alias Stored = vec4<u32>;
fn load8(row: u32, k: u32) -> Eight {
  let packed = stored[row + k];
  return Eight(widen4_bf16(packed.xy), widen4_bf16(packed.zw));
}
#end
#if DTYPE == "Q8_0" || DTYPE == "Q6_K"
#include blocks
@group(0) @binding(${SCALES}) var<storage, read> scales: array<u32>;
alias Stored = vec2<u32>;
fn load8(row: u32, k: u32) -> Eight {
  let at = row + k;
  let scale = scale_of(2u * at);
  return Eight(scale * quants4_q8(stored[at].x), scale * quants4_q8(stored[at].y));
}
#end
#if DTYPE == "Q4_0" || DTYPE == "MXFP4"
#include blocks
@group(0) @binding(${SCALES}) var<storage, read> scales: array<u32>;
alias Stored = vec2<u32>;
fn load8(row: u32, k: u32) -> Eight {
  let at = row + k;
  let scale = scale_of(2u * at);
  let words = stored[at / 4u * 2u + (at & 1u)] >> vec2<u32>((at & 2u) * 2u);
  return Eight(scale * quants4_halves(words.x), scale * quants4_halves(words.y));
}
#end
