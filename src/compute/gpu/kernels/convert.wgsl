// y = x as TARGET: f32, or rounded to f16 or bf16; x in any format, a basis that is stored as codes or not at all included.
// Columns beyond the last, up to whole vectors of y's rows, become zero.
#use dtype

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
#include matrix, NAME = "x", BINDING = 1, SCALES = 3, STREAM = "p.stream"
#if TARGET == "f32"
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
fn rounded(values: vec4<f32>) -> vec4<f32> { return values; }
#else
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u32>>;
fn rounded(values: vec4<f32>) -> vec2<u32> { return round4_${TARGET}(values); }
#end

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.z * p.rows_y + id.y;
  if (row >= p.rows || id.x * ${VECTORS}u >= p.width) {
    return;
  }
  let y_row = p.y_at + row * p.y_pitch;
  var line = line_x(row);
#if DTYPE == "PHILOX"
  line.begin = plus(line.begin, p.first);
#end
#if DTYPE == "TERNARY"
  // Loaded once: four loads of it make the kernel a third slower on a software GPU.
  let word = stored_x[line / 4u + id.x];
#end
  for (var i = 0u; i < ${VECTORS}u; i++) {
    let vector = id.x * ${VECTORS}u + i;
    if (vector < p.width) {
#if DTYPE == "TERNARY"
      var four = ternary4(word >> (8u * i));
#else
      var four = load4_x(&line, vector);
#end
#if BASIS
      let inside = vec4<u32>(vector * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
      four = select(vec4<f32>(0.0), four, inside);
#end
      y[y_row + vector] = rounded(four);
    }
  }
}
