// Part of basis-gradient.wgsl: its STAGING "workgroup".
#block slab
    let inside = term + ty < p.terms;
    let source = min(term + ty, p.terms - 1u);
    var p_line = line_p(source);
    let left4 = select(vec4<f32>(0.0), load4_p(&p_line, p_col), inside);
    let right4 = right[right_at + source * p.q_pitch];
#end
const CHUNK = 16u; // rows of the tile that are folded together
var<workgroup> chunk: array<vec4<f32>, 256>; // [row][col / 4]
var<workgroup> dots: array<f32, 256>; // [row][col / 4]

// Does a row of a chunk come first among those of its basis? And where is the next of these after row `line`?
fn is_first(line: u32, q: u32) -> bool {
#if PAIRING == "peft"
  return line < p.bases;
#else
  return line == 0u || q % p.rank == 0u;
#end
}

fn next_of_basis(line: u32, q: u32) -> u32 {
#if PAIRING == "peft"
  return line + p.bases;
#else
  return select(line + 1u, CHUNK, (q + 1u) % p.rank == 0u);
#end
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let tx = thread % 16u;
  let ty = thread / 16u;
  let col = workgroup.x * TILE_COLS + tx * 4u;
  let slice = workgroup.y;
  if (col < p.cols) {
    for (var j = ty; j < p.bases; j += 16u) {
      gamma_parts[part_at(slice, j, col)] = vec4<f32>(0.0);
    }
  }
  let right_at = p.q_at + min(col, p.cols - 1u) / 4u;
  let first = slice * p.slice_tiles * TILE_ROWS;
  let end = min(first + p.slice_tiles * TILE_ROWS, p.rows);
  for (var row = first; row < end; row += TILE_ROWS) {
    let p_col = min(row / 4u + tx, (p.rows - 1u) / 4u);
#include product_sums
    for (var from_ = 0u; from_ < TILE_ROWS; from_ += CHUNK) {
      workgroupBarrier();
      storageBarrier(); // another thread may add to the same basis as in the chunk before
      if (ty * 4u / CHUNK == from_ / CHUNK) {
        let line = (ty * 4u) % CHUNK;
#for i in 0..4
        chunk[(line + ${i}u) * 16u + tx] = total_${i};
#end
      }
      workgroupBarrier();
      let q = row + from_ + ty;
      let k = rank_of(min(q, p.rows - 1u));
      let j = basis_of(min(q, p.rows - 1u));
      let scaled = chunk[thread] * load_a(k, col);
      chunk[thread] = load_lambda(k, j) * scaled;
      dots[thread] = dot(scaled, load_gamma(j, col));
      workgroupBarrier();
      if (q < end && tx == 0u) {
        var sum = 0.0;
        for (var i = 0u; i < 16u; i++) {
          sum += dots[ty * 16u + i];
        }
        lambda_parts[workgroup.x * p.rows + q] = sum;
      }
      if (q < end && col < p.cols && is_first(ty, q)) {
        var sum = vec4<f32>(0.0);
        for (var line = ty; line < CHUNK && row + from_ + line < end; line = next_of_basis(line, row + from_ + line)) {
          sum += chunk[line * 16u + tx];
        }
        gamma_parts[part_at(slice, j, col)] += sum;
      }
    }
  }
}
