// Elements of the random bases, four neighbours at a time: two-bit codes, and draws of philox-v1 (parameters `key`,
// `threshold` and `dense`). Who includes it says what four dense draws of a word are: `fn dense4(word: u32)`.

fn ternary4(codes: u32) -> vec4<f32> {
  let code = (vec4<u32>(codes) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u);
  return vec4<f32>(code & vec4<u32>(1u)) - vec4<f32>(code >> vec4<u32>(1u));
}

// The block of random words that was drawn last; rows are walked forwards, so each block is drawn once.
struct Drawn {
  block: vec2<u32>,
  words: vec4<u32>,
}
const NOTHING_DRAWN = Drawn(vec2<u32>(0xffffffffu), vec4<u32>(0u));

#if STORAGE_B == "philox" || STORAGE_A == "philox"
// Positions in a stream have 64 bits, (low, high): bases may have more than 2^32 elements.
fn position(row: u32, pitch: u32, col: u32) -> vec2<u32> {
  let product = philox_multiply(row, pitch);
  let low = product.x + col;
  return vec2<u32>(low, product.y + select(0u, 1u, low < col));
}

fn shift_right(value: vec2<u32>, bits: u32) -> vec2<u32> {
  return vec2<u32>((value.x >> bits) | (value.y << (32u - bits)), value.y >> bits);
}

fn drawn_word(drawn: ptr<function, Drawn>, stream: u32, index: vec2<u32>) -> u32 {
  let block = shift_right(index, 2u);
  if (any((*drawn).block != block)) {
    (*drawn).block = block;
    (*drawn).words = philox4x32_10(vec4<u32>(block, stream, 0u), p.key);
  }
  return (*drawn).words[index.x & 3u];
}

// Elements first … first + 3 of a stream, at any alignment; ternary ones as ±1. A loop, because drivers copy every
// function to where it is called, and compile ten rounds of Philox each time.
fn draw4(drawn: ptr<function, Drawn>, stream: u32, first: vec2<u32>) -> vec4<f32> {
  let is_half = p.threshold != 0u; // 16 bits an element, else 8
  let index = shift_right(first, select(2u, 1u, is_half));
  let shift = select((first.x & 3u) * 8u, (first.x & 1u) * 16u, is_half);
  var words = vec3<u32>(0u);
  let count = select(1u, 2u, is_half) + select(0u, 1u, shift != 0u);
  for (var i = 0u; i < count; i++) {
    let low = index.x + i;
    words[i] = drawn_word(drawn, stream, vec2<u32>(low, index.y + select(0u, 1u, low < i)));
  }
  if (shift != 0u) {
    words = (words >> vec3<u32>(shift)) | (vec3<u32>(words.yz, 0u) << vec3<u32>(32u - shift));
  }
  if (is_half) {
    return vec4<f32>(
      philox_very_sparse(words.x, p.threshold, 1.0), philox_very_sparse(words.y, p.threshold, 1.0));
  }
  if (p.dense == 1u) {
    return dense4(words.x);
  }
  return philox_sparse(words.x, 1.0);
}
#end
