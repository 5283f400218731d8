// A matrix as it is stored, in the format DTYPE: `load4(at)` gives the four neighbours at `at`, counted in vectors of 4
// elements, in f32. Who includes it declares `stored: array<Stored>`, and for formats of blocks (src/device/blocks.ts)
// `scales: array<u32>` and the parameter `scales_at`, the place of the scale of the first bound block.
#include dtype
#if DTYPE == "F32"
alias Stored = vec4<f32>;
fn load4(at: u32) -> vec4<f32> { return stored[at]; }
#end
#if DTYPE == "F16"
alias Stored = vec2<u32>;
fn load4(at: u32) -> vec4<f32> { return widen4_f16(stored[at]); }
#end
#if DTYPE == "BF16"
alias Stored = vec2<u32>;
fn load4(at: u32) -> vec4<f32> { return widen4_bf16(stored[at]); }
#end
#if DTYPE == "Q8_0"
#include blocks
alias Stored = u32;
fn load4(at: u32) -> vec4<f32> { return scale_of(at / 8u) * quants4_q8(stored[at]); }
#end
#if DTYPE == "Q4_0"
#include blocks
alias Stored = u32;
fn load4(at: u32) -> vec4<f32> {
  let word = stored[at / 8u * 4u + (at & 3u)];
  return scale_of(at / 8u) * quants4_q4(word >> (at & 4u));
}
#end
