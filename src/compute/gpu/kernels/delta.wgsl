// ΔW = scale · B̂ Ŝ in f32, stored or added to what is there (RandLoRA; PEFT's randlora/layer.py, get_delta_weight).
//
//   B̂   (rows, terms)  row-major, term q; stored as STORAGE_B, in any format of matrix.wgsl but blocks
//   A   (r, cols)      row-major; stored as STORAGE_A. Ternary values are ±1: their size is part of `scale`
//   Ŝ   (terms, cols)  never stored: Ŝ[q, c] = λ[q] · A[k, c] · γ[j, c]
//   ΔW  (rows, cols), or (cols, rows) when `transposed`
//
// PAIRING "peft":  q = k·n + j, so γ is the fast operand (its row changes with every term) and A the slow one.
// PAIRING "paper": q = j·r + k, so A is the fast operand and γ the slow one. λ is stored in the order of q.
//
// The left operand is B̂, each term times its λ, the right one A∘γ. product.wgsl has the sums.

#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
#include matrix, NAME = "b", DTYPE = STORAGE_B, BINDING = 1, STREAM = "1u", DENSE = "on_grid"
#include matrix, NAME = "a", DTYPE = STORAGE_A, BINDING = 2, STREAM = "0u", DENSE = "on_grid"
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> lambda: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> target_: array<vec4<f32>>;

#include product

#if STORAGE_A == "PHILOX" || STORAGE_B == "PHILOX"
// Dense draws on the grid of the bases.
fn on_grid(word: u32) -> vec4<f32> { return philox_on_grid(philox_dense(word), p.dropped); }
#end

// Four columns of A's row k, and of γ's row j, from 4 · c on.
fn load_a(k: u32, c: u32) -> vec4<f32> {
  var line = line_a(k);
  return load4_a(&line, c);
}

fn load_gamma(j: u32, c: u32) -> vec4<f32> {
  return gamma[j * p.gamma_pitch + c];
}

#if PAIRING == "peft"
fn load_fast(index: u32, c: u32) -> vec4<f32> { return load_gamma(index, c); }
fn load_slow(index: u32, c: u32) -> vec4<f32> { return load_a(index, c); }
#else
fn load_fast(index: u32, c: u32) -> vec4<f32> { return load_a(index, c); }
fn load_slow(index: u32, c: u32) -> vec4<f32> { return load_gamma(index, c); }
#end

#include store

#block slab
    // Terms beyond the last meet λ = 0; the index is held back so that nothing is read from another row.
    let q = min(term + vector * 4u, (p.terms - 1u) & ~3u);
    let left4 = select(vec4<f32>(0.0), load4_b(&b_line, q / 4u) * lambda[q / 4u], term + vector * 4u < p.terms);
    let right_term = min(term + ty, p.terms - 1u);
    let right4 = load_slow(right_term / p.fast_count, c) * load_fast(right_term % p.fast_count, c);
#end
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.y * TILE_ROWS;
  let col = workgroup.x * TILE_COLS;
  let tx = thread % 16u;
  let ty = thread / 16u;
  let line = thread / 4u;
  let vector = thread % 4u;
  var b_line = line_b(min(row + line, p.rows - 1u));
  let c = (p.first_col + min(col + tx * 4u, p.cols - 1u)) / 4u;
  let terms = p.terms;
#include product_sums
  for (var chunk = 0u; chunk < TILE_ROWS; chunk += CHUNK_ROWS) {
    workgroupBarrier();
    if (ty * 4u / CHUNK_ROWS == chunk / CHUNK_ROWS) {
#for i in 0..4
      {
        let at = (ty * 4u - chunk + ${i}u) * TILE_COLS + tx * 4u;
        tile[at] = total_${i}.x;
        tile[at + 1u] = total_${i}.y;
        tile[at + 2u] = total_${i}.z;
        tile[at + 3u] = total_${i}.w;
      }
#end
    }
    workgroupBarrier();
    store_chunk(row + chunk, col, thread);
  }
}
