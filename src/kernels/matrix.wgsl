// Four or eight neighbours of a matrix stored as DTYPE (F32, F16 or BF16), widened to f32. Rows are whole 16 bytes.
#include dtype
#if DTYPE == "F32"
alias Packed4 = vec4<f32>;
fn widen4(packed: Packed4) -> vec4<f32> { return packed; }
#else
alias Packed4 = vec2<u32>;
alias Packed8 = vec4<u32>;
#if DTYPE == "F16"
fn widen4(packed: Packed4) -> vec4<f32> { return widen4_f16(packed); }
#else
fn widen4(packed: Packed4) -> vec4<f32> { return widen4_bf16(packed); }
#end
#end
