// Which keys a token sees: from a first to a last one. The last is its own, at position first_position + t of token t, unless
// `lasts` says another; the first is that of the window, which ends with the last, or a later one by `firsts`. What decoding never
// asks for, EXTRAS, is a variant: first and last key of each token, and the logarithms of the softmax's sums.

const NEVER = -3.0e38; // below every score
const TILE_KEYS = ${TILE_KEYS}u; // keys whose products with values are summed before they join those of others

#if EXTRAS
const HAS_FIRSTS = 1u;
const HAS_LASTS = 2u;
const HAS_SUMS = 4u;
#end

fn last_key(token: u32) -> u32 {
#if EXTRAS
  if ((p.flags & HAS_LASTS) != 0u) {
    return lasts[p.lasts_at + token];
  }
#end
  return p.first_position + token;
}

fn first_key(token: u32) -> u32 {
  let next = last_key(token) + 1u;
  let first = select(0u, next - p.window, next > p.window);
#if EXTRAS
  if ((p.flags & HAS_FIRSTS) != 0u) {
    return max(first, firsts[p.firsts_at + token]);
  }
#end
  return first;
}

#if SPLIT
// Where the record of a tile begins, of a token's head.
fn record_of(token: u32, head: u32, tile: u32) -> u32 {
#if APART
  return (tile * p.heads + head) * (HEAD + 1u); // no two tokens have one
#else
  return (((tile - p.first_tile) * p.tokens + token) * p.heads + head) * (HEAD + 1u);
#end
}
#end

#if EXTRAS
fn store_sum(token: u32, head: u32, log_sum: f32) {
  if ((p.flags & HAS_SUMS) == 0u) {
    return;
  }
  let row = p.sums_at + token * p.sums_pitch;
  sums[row + head] = log_sum;
  // What is behind the last one stays zero.
  for (var pad = head + 1u; pad >= p.heads && pad % 4u != 0u; pad++) {
    sums[row + pad] = 0.0;
  }
}
#end
