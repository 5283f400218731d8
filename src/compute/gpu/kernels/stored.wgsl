// A matrix as it is stored, in the format DTYPE, as an operand called NAME: its binding, the number BINDING, and
// `stored4_NAME(at)`, the four neighbors at `at`, counted in vectors of 4 elements, in f32. Formats of blocks
// (src/compute/device/blocks.ts) have their scales in another binding, the number SCALES, and need the parameter `scales_at`, the
// place of the scale of the first bound block; `wholes4_NAME(at)` are their whole numbers in four signed bytes (blocks.wgsl).
#use dtype
#if DTYPE == "F32"
@group(0) @binding(${BINDING}) var<storage, read> stored_${NAME}: array<vec4<f32>>;
fn stored4_${NAME}(at: u32) -> vec4<f32> { return stored_${NAME}[at]; }
#end
#if DTYPE == "F16"
@group(0) @binding(${BINDING}) var<storage, read> stored_${NAME}: array<vec2<u32>>;
fn stored4_${NAME}(at: u32) -> vec4<f32> { return widen4_f16(stored_${NAME}[at]); }
#end
#if DTYPE == "BF16"
@group(0) @binding(${BINDING}) var<storage, read> stored_${NAME}: array<vec2<u32>>;
fn stored4_${NAME}(at: u32) -> vec4<f32> { return widen4_bf16(stored_${NAME}[at]); }
#end
#if DTYPE == "Q8_0" || DTYPE == "Q6_K"
#include blocks
@group(0) @binding(${BINDING}) var<storage, read> stored_${NAME}: array<u32>;
@group(0) @binding(${SCALES}) var<storage, read> scales: array<u32>;
fn stored4_${NAME}(at: u32) -> vec4<f32> { return scale_of(at) * quants4_q8(stored_${NAME}[at]); }
fn wholes4_${NAME}(at: u32) -> u32 { return stored_${NAME}[at]; }
#end
#if DTYPE == "Q4_0" || DTYPE == "MXFP4"
#include blocks
@group(0) @binding(${BINDING}) var<storage, read> stored_${NAME}: array<u32>;
@group(0) @binding(${SCALES}) var<storage, read> scales: array<u32>;
fn word_${NAME}(at: u32) -> u32 { return stored_${NAME}[at / 8u * 4u + (at & 3u)] >> (at & 4u); }
fn stored4_${NAME}(at: u32) -> vec4<f32> { return scale_of(at) * quants4_halves(word_${NAME}(at)); }
fn wholes4_${NAME}(at: u32) -> u32 { return wholes_q4(word_${NAME}(at)); }
#end
#if DTYPE == "TERNARY"
#use ternary
@group(0) @binding(${BINDING}) var<storage, read> stored_${NAME}: array<u32>;
fn stored4_${NAME}(at: u32) -> vec4<f32> { return ternary4(stored_${NAME}[at / 4u] >> ((at & 3u) * 8u)); }
#end
