// Part of delta.wgsl: the tail of every tile: scale, add to W, round once, store, count.

// Four neighbours of W at element `at` (a multiple of 4); `inside` marks those that exist. The others, which pad a row to
// whole vectors, become zero.
fn finish(at: u32, product: vec4<f32>, inside: vec4<bool>) -> vec4<f32> {
  var delta = product * p.scale;
  if ((p.flags & HAS_SUM) != 0u) {
    delta += sum[p.sum_at + at / 4u];
  }
  delta = select(vec4<f32>(0.0), delta, inside);
  var old = vec4<f32>(0.0);
  if ((p.flags & HAS_WEIGHT) != 0u) {
    let from_ = p.source_at + at;
    if (p.source_dtype == F32) {
      old = bitcast<vec4<f32>>(vec4<u32>(weight[from_], weight[from_ + 1u], weight[from_ + 2u], weight[from_ + 3u]));
    } else {
      let words = vec2<u32>(weight[from_ / 2u], weight[from_ / 2u + 1u]);
      if (p.source_dtype == BF16) { old = widen4_bf16(words); } else { old = widen4_f16(words); }
    }
    old = select(vec4<f32>(0.0), old, inside);
  }
  // Three numbers go through the target's dtype: ΔW where that is asked for, W for comparison, their sum. A loop, so
  // that the conversions are compiled once.
  var words: vec2<u32>;
  var before: vec4<u32>;
  var after: vec4<u32>;
  for (var step = 0u; step < 3u; step++) {
    var value = delta;
    if (step == 1u) { value = old; }
    if (step == 2u) { value = old + delta; }
    if (p.target_dtype == BF16) {
      words = round4_bf16(value);
      value = widen4_bf16(words);
    } else if (p.target_dtype == F16) {
      words = round4_f16(value);
      value = widen4_f16(words);
    }
    if (step == 0u && (p.flags & ROUND_DELTA) != 0u) { delta = value; }
    if (step == 1u) { before = bitcast<vec4<u32>>(value); }
    if (step == 2u) { after = bitcast<vec4<u32>>(value); }
  }
  let to = p.target_at + at;
  if (p.target_dtype == F32) {
    target_[to] = after.x;
    target_[to + 1u] = after.y;
    target_[to + 2u] = after.z;
    target_[to + 3u] = after.w;
  } else {
    target_[to / 2u] = words.x;
    target_[to / 2u + 1u] = words.y;
  }
  let size = abs(delta);
  let changed = select(vec4<f32>(0.0), vec4<f32>(1.0), before != after);
  let infinite = vec4<u32>(0x7f800000u);
  let broken = select(vec4<f32>(0.0), vec4<f32>(1.0), (after & infinite) == infinite);
  let one = vec4<f32>(1.0);
  return vec4<f32>(max(max(size.x, size.y), max(size.z, size.w)), dot(delta, delta), dot(changed, one), dot(broken, one));
}

fn merge_statistics(left: vec4<f32>, right: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(max(left.x, right.x), left.yzw + right.yzw);
}

const CHUNK_ROWS = ${CHUNK_ROWS}u; // rows of the tile that are finished together
const THREADS = ${THREADS}u;

var<workgroup> tile: array<f32, ${CHUNK_ROWS * TILE_COLS}>;

// Finishes `CHUNK_ROWS` rows of products that lie in `tile`. `row`, `col`: the chunk's place in this dispatch. Four
// neighbours of W are four columns of one row of the tile, or four rows of one column where W is transposed.
fn finish_chunk(row: u32, col: u32, thread: u32) -> vec4<f32> {
  var found = vec4<f32>(0.0);
  let is_transposed = p.transposed != 0u;
  let across = select(TILE_COLS, CHUNK_ROWS, is_transposed) / 4u;
  let step = select(1u, TILE_COLS, is_transposed);
  for (var unit = thread; unit < CHUNK_ROWS * TILE_COLS / 4u; unit += THREADS) {
    let fours = (unit % across) * 4u;
    let r = select(unit / across, fours, is_transposed);
    let c = select(fours, unit / across, is_transposed);
    if (row + r < p.rows && col + c < p.cols) {
      let from_ = r * TILE_COLS + c;
      let product = vec4<f32>(tile[from_], tile[from_ + step], tile[from_ + 2u * step], tile[from_ + 3u * step]);
      let first = select(col + c, row + r, is_transposed);
      let inside = vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(select(p.cols, p.rows, is_transposed));
      let at = select(
        (row + r) * p.w_pitch + p.first_col + col + c,
        (col + c) * p.w_pitch + p.first_row + row + r,
        is_transposed,
      );
      found = merge_statistics(found, finish(at, product, inside));
    }
  }
  return found;
}
