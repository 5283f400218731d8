// Rows of bases that are drawn where they are read, by philox-v1: ternary ones as −1, 0 and 1, dense ones as the function
// DENSE makes them of a word. Parameters: `key`, `threshold` (very sparse; 0 for the others), and `dense` (0: ternary).
#use philox

// A row, and the block of random words that was drawn last: read forwards, each block is drawn once.
struct Line {
  begin: vec2<u32>, // positions in a stream have 64 bits, (low, high): bases may have more than 2^32 elements
  block: vec2<u32>,
  words: vec4<u32>,
}

fn drawn_line(row: u32, pitch: u32) -> Line {
  return Line(philox_multiply(row, pitch), vec2<u32>(0xffffffffu), vec4<u32>(0u));
}

fn plus(position: vec2<u32>, more: u32) -> vec2<u32> {
  let low = position.x + more;
  return vec2<u32>(low, position.y + select(0u, 1u, low < more));
}

fn shift_right(value: vec2<u32>, bits: u32) -> vec2<u32> {
  return vec2<u32>((value.x >> bits) | (value.y << (32u - bits)), value.y >> bits);
}

fn drawn_word(line: ptr<function, Line>, stream: u32, index: vec2<u32>) -> u32 {
  let block = shift_right(index, 2u);
  if (any((*line).block != block)) {
    (*line).block = block;
    (*line).words = philox4x32_10(vec4<u32>(block, stream, 0u), p.key);
  }
  return (*line).words[index.x & 3u];
}

// Elements 4 · at … 4 · at + 3 of a row, which may begin at any position. A loop, because drivers copy every function to
// where it is called, and compile ten rounds of Philox each time.
fn draw4(line: ptr<function, Line>, stream: u32, at: u32) -> vec4<f32> {
  let first = plus((*line).begin, 4u * at);
  let is_half = p.threshold != 0u; // 16 bits an element, else 8
  let index = shift_right(first, select(2u, 1u, is_half));
  let shift = select((first.x & 3u) * 8u, (first.x & 1u) * 16u, is_half);
  var words = vec3<u32>(0u);
  let count = select(1u, 2u, is_half) + select(0u, 1u, shift != 0u);
  for (var i = 0u; i < count; i++) {
    words[i] = drawn_word(line, stream, plus(index, i));
  }
  if (shift != 0u) {
    words = (words >> vec3<u32>(shift)) | (vec3<u32>(words.yz, 0u) << vec3<u32>(32u - shift));
  }
  if (is_half) {
    return vec4<f32>(
      philox_very_sparse(words.x, p.threshold, 1.0), philox_very_sparse(words.y, p.threshold, 1.0));
  }
  if (p.dense == 1u) {
    return ${DENSE}(words.x);
  }
  return philox_sparse(words.x, 1.0);
}
