// Rows and columns of a basis that is stored as codes or not at all, as 16-bit numbers: −1, 0, +1 of ternary bases; of
// dense philox ones 2b − 255, which bf16 holds exactly, or values, which the packing to TARGET rounds to the bases' own
// grid. Columns beyond the last become zero.
#include dtype
#if STORAGE_B == "philox"
#include philox
fn dense4(word: u32) -> vec4<f32> {
  return ${DENSE}(word);
}
#end

struct Parameters {
  rows: u32,
  cols: u32,
  first_row: u32,
  first_col: u32, // a multiple of 16
  stride: u32, // elements from row to row of the codes; columns of the whole basis where it is drawn
  target_pitch: u32, // elements, a multiple of 8
  stream: u32, // philox: 0 for A, 1 for B
  threshold: u32, // philox, very sparse; 0 for the others
  key: vec2<u32>, // philox
  dense: u32, // philox: 1 dense, 0 ternary
  pad: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read_write> target_: array<vec2<u32>>;

#include basis

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let col = id.x * 16u;
  if (col >= p.target_pitch) {
    return;
  }
  let row = p.first_row + id.y;
#if STORAGE_B == "ternary"
  let word = codes[(row * p.stride + p.first_col + col) / 16u];
#else
  var drawn = NOTHING_DRAWN;
#end
  for (var i = 0u; i < 16u; i += 4u) {
    if (col + i < p.target_pitch) {
#if STORAGE_B == "ternary"
      let four = ternary4(word >> (i * 2u));
#else
      let four = draw4(&drawn, p.stream, position(row, p.stride, p.first_col + col + i));
#end
      let inside = vec4<u32>(col + i) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
      target_[(id.y * p.target_pitch + col + i) / 4u] = round4_${TARGET}(select(vec4<f32>(0.0), four, inside));
    }
  }
}
