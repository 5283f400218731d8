// Part of delta.wgsl: the tail of every tile: scale, add to W, round once, store, count.

// Four neighbours of W at element `at` (a multiple of 4); `inside` marks those that exist.
fn finish(at: u32, product: vec4<f32>, inside: vec4<bool>) -> vec4<f32> {
  var delta = product * p.scale;
  if ((p.flags & HAS_SUM) != 0u) {
    delta += sum[at / 4u];
  }
  if ((p.flags & ROUND_DELTA) != 0u) {
    delta = through_dtype(delta, p.target_dtype);
  }
  var old = vec4<f32>(0.0);
  if ((p.flags & HAS_WEIGHT) != 0u) {
    if (p.source_dtype == F32) {
      old = bitcast<vec4<f32>>(vec4<u32>(weight[at], weight[at + 1u], weight[at + 2u], weight[at + 3u]));
    } else {
      let words = vec2<u32>(weight[at / 2u], weight[at / 2u + 1u]);
      if (p.source_dtype == BF16) { old = widen4_bf16(words); } else { old = widen4_f16(words); }
    }
  }
  let new_ = old + delta;
  var before: vec4<u32>;
  var after: vec4<u32>;
  if (p.target_dtype == F32) {
    before = bitcast<vec4<u32>>(old);
    after = bitcast<vec4<u32>>(new_);
    target_[at] = after.x;
    target_[at + 1u] = after.y;
    target_[at + 2u] = after.z;
    target_[at + 3u] = after.w;
  } else {
    var words: vec2<u32>;
    if (p.target_dtype == BF16) {
      words = round4_bf16(new_);
      before = bitcast<vec4<u32>>(widen4_bf16(round4_bf16(old)));
      after = bitcast<vec4<u32>>(widen4_bf16(words));
    } else {
      words = round4_f16(new_);
      before = bitcast<vec4<u32>>(widen4_f16(round4_f16(old)));
      after = bitcast<vec4<u32>>(widen4_f16(words));
    }
    target_[at / 2u] = words.x;
    target_[at / 2u + 1u] = words.y;
  }
  let counted = select(vec4<f32>(0.0), delta, inside);
  let size = abs(counted);
  let changed = select(vec4<f32>(0.0), vec4<f32>(1.0), inside & (before != after));
  let infinite = vec4<u32>(0x7f800000u);
  let broken = select(vec4<f32>(0.0), vec4<f32>(1.0), inside & ((after & infinite) == infinite));
  let one = vec4<f32>(1.0);
  return vec4<f32>(max(max(size.x, size.y), max(size.z, size.w)), dot(counted, counted), dot(changed, one), dot(broken, one));
}

fn merge_statistics(left: vec4<f32>, right: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(max(left.x, right.x), left.yzw + right.yzw);
}

const TILE_ROWS = ${TILE_ROWS}u;
const TILE_COLS = ${TILE_COLS}u;
const CHUNK_ROWS = ${CHUNK_ROWS}u; // rows of the tile that are finished together
const THREADS = ${THREADS}u;

var<workgroup> tile: array<f32, ${CHUNK_ROWS * TILE_COLS}>;

// Finishes `CHUNK_ROWS` rows of products that lie in `tile`. `row`, `col`: the chunk's place in this dispatch.
fn finish_chunk(row: u32, col: u32, thread: u32) -> vec4<f32> {
  var found = vec4<f32>(0.0);
  for (var unit = thread; unit < CHUNK_ROWS * TILE_COLS / 4u; unit += THREADS) {
    if (p.transposed == 0u) {
      let r = unit / (TILE_COLS / 4u);
      let c = (unit % (TILE_COLS / 4u)) * 4u;
      if (row + r < p.rows && col + c < p.cols) {
        let at = r * TILE_COLS + c;
        let product = vec4<f32>(tile[at], tile[at + 1u], tile[at + 2u], tile[at + 3u]);
        let inside = vec4<u32>(col + c) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
        found = merge_statistics(found, finish((row + r) * p.w_pitch + p.first_col + col + c, product, inside));
      }
    } else {
      let c = unit / (CHUNK_ROWS / 4u);
      let r = (unit % (CHUNK_ROWS / 4u)) * 4u;
      if (row + r < p.rows && col + c < p.cols) {
        let at = r * TILE_COLS + c;
        let product = vec4<f32>(tile[at], tile[at + TILE_COLS], tile[at + 2u * TILE_COLS], tile[at + 3u * TILE_COLS]);
        let inside = vec4<u32>(row + r) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.rows);
        found = merge_statistics(found, finish((col + c) * p.w_pitch + p.first_row + row + r, product, inside));
      }
    }
  }
  return found;
}
