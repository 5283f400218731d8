// Part of delta.wgsl: the tail of every tile: scale, add to what is there, store.

const CHUNK_ROWS = 16u; // rows of the tile that are stored together
const THREADS = 256u;

var<workgroup> tile: array<f32, ${16 * TILE_COLS}>;

// Stores `CHUNK_ROWS` rows of sums that lie in `tile`. `row`, `col`: the chunk's place in this dispatch. Four neighbors of
// the target are four columns of one row of the tile, or four rows of one column where it is transposed. What pads a row
// of the target to whole vectors becomes zero.
fn store_chunk(row: u32, col: u32, thread: u32) {
  let is_transposed = p.transposed != 0u;
  let across = select(TILE_COLS, CHUNK_ROWS, is_transposed) / 4u;
  let step = select(1u, TILE_COLS, is_transposed);
  for (var unit = thread; unit < CHUNK_ROWS * TILE_COLS / 4u; unit += THREADS) {
    let fours = (unit % across) * 4u;
    let r = select(unit / across, fours, is_transposed);
    let c = select(fours, unit / across, is_transposed);
    if (row + r < p.rows && col + c < p.cols) {
      let from_ = r * TILE_COLS + c;
      let first = select(col + c, row + r, is_transposed);
      let inside = vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(select(p.cols, p.rows, is_transposed));
      let at = (p.target_at + select(
        (row + r) * p.target_pitch + p.first_col + col + c,
        (col + c) * p.target_pitch + p.first_row + row + r,
        is_transposed,
      )) / 4u;
      var value = p.scale * vec4<f32>(tile[from_], tile[from_ + step], tile[from_ + 2u * step], tile[from_ + 3u * step]);
      if (p.accumulate != 0u) {
        value += target_[at];
      }
      target_[at] = select(vec4<f32>(0.0), value, inside);
    }
  }
}
