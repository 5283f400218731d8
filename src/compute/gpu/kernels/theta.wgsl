// The bases of a sum over whole networks (PRANC), drawn where they are needed: a library, without entry points. The 16
// elements of block b of basis i are the bytes, little-endian, of the words
//   philox4x32_10(vec4<u32>(b_low, b_high, i, 1u), key)
// src/adapters/pranc/stream.ts has the same function, and says which elements those are.
#include philox

#include constants

fn theta_words(block: vec2<u32>, basis: u32, key: vec2<u32>) -> vec4<u32> {
  return philox4x32_10(vec4<u32>(block, basis, 1u), key);
}

// Positions have 64 bits, (low, high): all layers together may have more than 2^32 elements.
fn add_to(position: vec2<u32>, more: vec2<u32>) -> vec2<u32> {
  let low = position.x + more.x;
  return vec2<u32>(low, position.y + more.y + select(0u, 1u, low < more.x));
}

fn block_of(position: vec2<u32>) -> vec2<u32> {
  return vec2<u32>((position.x >> 4u) | (position.y << 28u), position.y >> 4u);
}
