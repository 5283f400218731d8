// Part of delta.wgsl: the operands B̂, A and γ, four neighbouring elements at a time, whatever they are stored as.
#include basis

#if STORAGE_B == "philox" || STORAGE_A == "philox"
// A dense draw on the grid of the bases.
fn dense4(word: u32) -> vec4<f32> {
  return philox_on_grid(philox_dense(word), p.dropped);
}
#end

// B̂[row, q … q+3], row counted from the first bound row.
fn load_b(drawn: ptr<function, Drawn>, row: u32, q: u32) -> vec4<f32> {
#if STORAGE_B == "bf16"
  return widen4_bf16(basis_b[(row * p.b_stride + q) / 4u]);
#end
#if STORAGE_B == "f16"
  return widen4_f16(basis_b[(row * p.b_stride + q) / 4u]);
#end
#if STORAGE_B == "f32"
  return basis_b[(row * p.b_stride + q) / 4u];
#end
#if STORAGE_B == "ternary"
  return ternary4(basis_b[(row * p.b_stride + q) / 16u] >> ((q & 12u) * 2u));
#end
#if STORAGE_B == "philox"
  return draw4(drawn, 1u, position(p.first_row + row, p.b_drawn, q));
#end
}

// A[k, c … c+3].
fn load_a(k: u32, c: u32) -> vec4<f32> {
#if STORAGE_A == "bf16"
  return widen4_bf16(basis_a[(k * p.a_stride + c) / 4u]);
#end
#if STORAGE_A == "f16"
  return widen4_f16(basis_a[(k * p.a_stride + c) / 4u]);
#end
#if STORAGE_A == "f32"
  return basis_a[(k * p.a_stride + c) / 4u];
#end
#if STORAGE_A == "ternary"
  return ternary4(basis_a[(k * p.a_stride + c) / 16u] >> ((c & 12u) * 2u));
#end
#if STORAGE_A == "philox"
  var drawn = NOTHING_DRAWN;
  return draw4(&drawn, 0u, position(k, p.a_drawn, c));
#end
}

fn load_gamma(j: u32, c: u32) -> vec4<f32> {
  return gamma[(j * p.gamma_stride + c) / 4u];
}

#if PAIRING == "peft"
fn load_fast(index: u32, c: u32) -> vec4<f32> { return load_gamma(index, c); }
fn load_slow(index: u32, c: u32) -> vec4<f32> { return load_a(index, c); }
#else
fn load_fast(index: u32, c: u32) -> vec4<f32> { return load_a(index, c); }
fn load_slow(index: u32, c: u32) -> vec4<f32> { return load_gamma(index, c); }
#end
