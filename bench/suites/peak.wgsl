// How many multiplications and additions a GPU does at most: chains in registers that wait for nothing but themselves.
@group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;

const ROUNDS = 4096u;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  // No compiler knows them, and they keep the sums bounded.
  let x = vec4<f32>(f32(id.x & 7u) * 0.01);
  let factor = x + 0.5;
  var a = x;
  var b = x + 1.0;
  var c = x + 2.0;
  var d = x + 3.0;
  for (var round = 0u; round < ROUNDS; round++) {
    a = fma(a, factor, x);
    b = fma(b, factor, x);
    c = fma(c, factor, x);
    d = fma(d, factor, x);
  }
  y[id.x] = a + b + c + d;
}
