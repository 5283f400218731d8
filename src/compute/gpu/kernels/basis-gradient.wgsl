// Gradients of RandLoRA's λ and γ without dŜ ever being stored: a workgroup forms tiles of dŜ = PᵀQ in registers and
// folds each at once into its partial sums
//
//   dλ[k, j] = Σ_c dŜ[q, c] · A[k, c] · γ[j, c]        dγ[j, c] = Σ_k dŜ[q, c] · λ[k, j] · A[k, c]
//
//   P (terms, rows)  f32 or as DTYPE: H = big·B̂, or B̂ itself         Q (terms, cols)  f32: small, or G
//   A (r, cols), λ (r, n), γ (n, cols)  f32
//
// Row q of dŜ is λ[k, j]'s (pairing.wgsl). Workgroup (x, y) owns a block of columns and slice
// y of the tiles of rows: dγ of the slice in `gamma_parts` (slice, n, cols), dλ of the block in `lambda_parts`
// (block, rows). partial-sums.wgsl adds both up, in a fixed order. product.wgsl has the sums, and what a
// STAGING is.
#if STAGING == "subgroup"
enable subgroups;
#end

struct Parameters {
  rows: u32, // of dŜ: n·r
  cols: u32, // m
  terms: u32, // tokens, or rows of B̂
  slice_tiles: u32, // tiles of rows in a slice
  p_at: u32, // vectors of 4 before the first element, and from row to row
  p_pitch: u32,
  q_at: u32,
  q_pitch: u32,
  bases: u32, // n
  rank: u32, // r
  a_pitch: u32, // vectors
  gamma_at: u32, // vectors
  gamma_pitch: u32,
  lambda_at: u32, // elements
  lambda_pitch: u32,
  pad: u32,
}

@group(0) @binding(0) var<uniform> p: Parameters;
#include matrix, NAME = "p", BINDING = 1
@group(0) @binding(2) var<storage, read> right: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> lambda: array<f32>;
@group(0) @binding(5) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> lambda_parts: array<f32>;
@group(0) @binding(7) var<storage, read_write> gamma_parts: array<vec4<f32>>;

#include product

#include pairing

// Four columns of A's row k; zero beyond the last, where A may be wider than the module.
fn load_a(k: u32, col: u32) -> vec4<f32> {
  let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
  return select(vec4<f32>(0.0), a[k * p.a_pitch + min(col, p.cols - 1u) / 4u], inside);
}

fn load_gamma(j: u32, col: u32) -> vec4<f32> {
  return gamma[p.gamma_at + j * p.gamma_pitch + min(col, p.cols - 1u) / 4u];
}

fn load_lambda(k: u32, j: u32) -> f32 {
  return lambda[p.lambda_at + k * p.lambda_pitch + j];
}

// The vector of `gamma_parts` that holds basis j of a slice at column `col`.
fn part_at(slice: u32, j: u32, col: u32) -> u32 {
  return (slice * p.bases + j) * p.gamma_pitch + col / 4u;
}

#if STAGING == "subgroup"
#block right
#for t in 0..4
    let s${t} = right[right_at + min(term + ${t}u, p.terms - 1u) * p.q_pitch];
#end
#end
#block left
#for i in 0..ROWS_PER_LANE
    let inside_${i} = term + term_${i} < p.terms;
    var p_${i} = line_p(select(0u, term + term_${i}, inside_${i}));
    let v_${i} = select(vec4<f32>(0.0), load4_p(&p_${i}, p_col_${i}), inside_${i});
#end
#end
var<workgroup> tile: array<vec4<f32>, ${TILE_ROWS * LANES}>;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let col = workgroup.x * TILE_COLS + lane * 4u;
  let slice = workgroup.y;
  if (col < p.cols) {
    for (var j = 0u; j < p.bases; j++) {
      gamma_parts[part_at(slice, j, col)] = vec4<f32>(0.0);
    }
  }
  let right_at = p.q_at + min(col, p.cols - 1u) / 4u;
  let first = slice * p.slice_tiles * TILE_ROWS;
  let end = min(first + p.slice_tiles * TILE_ROWS, p.rows);
  for (var row = first; row < end; row += TILE_ROWS) {
    // A step of 4 terms of the tile is ${TILE_ROWS} vectors: ${TILE_ROWS / 4} of each term. This lane loads these:
#for i in 0..ROWS_PER_LANE
    let term_${i} = (${i * LANES}u + lane) / ${TILE_ROWS / 4}u;
    let p_col_${i} = min(row / 4u + (${i * LANES}u + lane) % ${TILE_ROWS / 4}u, (p.rows - 1u) / 4u);
#end
#include product_sums
    // One copy of the rest in a loop compiles faster than one a row; each lane reads back what it wrote.
#for i in 0..TILE_ROWS
    tile[${i * LANES}u + lane] = total_${i};
#end
    var a_row = 0xffffffffu;
    var a4: vec4<f32>;
    for (var q = row; q < min(row + TILE_ROWS, end); q++) {
      let k = rank_of(q);
      let j = basis_of(q);
      if (k != a_row) {
        a4 = load_a(k, col);
        a_row = k;
      }
      let scaled = tile[(q - row) * ${LANES}u + lane] * a4;
      if (col < p.cols) {
        gamma_parts[part_at(slice, j, col)] += load_lambda(k, j) * scaled;
      }
      let sum = subgroupAdd(dot(scaled, load_gamma(j, col)));
      if (lane == 0u) {
        lambda_parts[workgroup.x * p.rows + q] = sum;
      }
    }
  }
}
#else
#include workgroup
#end
