// y = scale · A B (+ bias) (+ residual) (+ y): products of matrices.
//
//   ORDER "NT":  a (rows, terms)   b (cols, terms)    y[i, j] = Σ a[i, k] · b[j, k]     a linear layer
//   ORDER "NN":  a (rows, terms)   b (terms, cols)    y[i, j] = Σ a[i, k] · b[k, j]     its gradient by x
//   ORDER "TN":  a (terms, rows)   b (terms, cols)    y[i, j] = Σ a[k, i] · b[k, j]     its gradient by W
//
// a and y are f32, b is stored as DTYPE. Rows of a and b are padded with zeros to whole vectors of 4. product.wgsl has the
// sums, and what a STAGING is; gemm-integer.wgsl is another form.
#if STAGING == "subgroup"
enable subgroups;
#end

#include gemm_operands
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
#include matrix, NAME = "b", BINDING = 2, SCALES = 6
#include product

#if STAGING == "subgroup"
#block right
#if ORDER == "NT"
#for n in 0..4
    let c${n} = load4_b(&b_${n}, term / 4u);
#end
    let s0 = vec4<f32>(c0.x, c1.x, c2.x, c3.x);
    let s1 = vec4<f32>(c0.y, c1.y, c2.y, c3.y);
    let s2 = vec4<f32>(c0.z, c1.z, c2.z, c3.z);
    let s3 = vec4<f32>(c0.w, c1.w, c2.w, c3.w);
#else
#for t in 0..4
    var b_${t} = line_b(min(term + ${t}u, p.terms - 1u));
    let s${t} = load4_b(&b_${t}, b_col);
#end
#end
#end
#block left
#for i in 0..ROWS_PER_LANE
#if ORDER == "TN"
    let inside_${i} = term + term_${i} < p.terms;
    let v_${i} = select(vec4<f32>(0.0), a[a_${i} + select(0u, term + term_${i}, inside_${i}) * p.a_pitch], inside_${i});
#else
    let v_${i} = a[a_${i} + term / 4u];
#end
#end
#end
var<workgroup> tile: array<vec4<f32>, ${TILE_ROWS * LANES}>;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let row = workgroup.y * TILE_ROWS;
  let col = workgroup.x * TILE_COLS + lane * 4u;
#for i in 0..ROWS_PER_LANE
#if ORDER == "TN"
  // A step of 4 terms of the tile is ${TILE_ROWS} vectors: ${TILE_ROWS / 4} of each term. This lane loads these:
  let term_${i} = (${i * LANES}u + lane) / ${TILE_ROWS / 4}u;
  let a_${i} = p.a_at + min(row / 4u + (${i * LANES}u + lane) % ${TILE_ROWS / 4}u, (p.rows - 1u) / 4u);
#else
  let a_${i} = p.a_at + min(row + ${i * LANES}u + lane, p.rows - 1u) * p.a_pitch;
#end
#end
#if ORDER == "NT"
#for n in 0..4
  var b_${n} = line_b(min(col + ${n}u, p.cols - 1u));
#end
#else
  let b_col = min(col, p.cols - 1u) / 4u;
#end
#include product_sums
  // One copy of `store` in a loop compiles faster than one a row; each lane reads back what it wrote.
#for i in 0..TILE_ROWS
  tile[${i * LANES}u + lane] = total_${i};
#end
  for (var i = 0u; i < TILE_ROWS; i++) {
    store(row + i, col, tile[i * ${LANES}u + lane]);
  }
}
#else
#block slab
#if ORDER == "TN"
    let left4 = select(vec4<f32>(0.0), a[a_line + min(term + ty, p.terms - 1u) * p.a_pitch], term + ty < p.terms);
#else
    let inside = term + vector * 4u < p.terms;
    let left4 = select(vec4<f32>(0.0), a[a_line + min(term / 4u + vector, (p.terms - 1u) / 4u)], inside);
#end
#if ORDER == "NT"
    let right4 = load4_b(&b_line, min(term / 4u + vector, (p.terms - 1u) / 4u));
#else
    var b_line = line_b(min(term + ty, p.terms - 1u));
    let right4 = load4_b(&b_line, b_col);
#end
#end
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.y * TILE_ROWS;
  let col = workgroup.x * TILE_COLS;
  let tx = thread % 16u;
  let ty = thread / 16u;
  let line = thread / 4u;
  let vector = thread % 4u;
#if ORDER == "TN"
  let a_line = p.a_at + min(row / 4u + tx, (p.rows - 1u) / 4u);
#else
  let a_line = p.a_at + min(row + line, p.rows - 1u) * p.a_pitch;
#end
#if ORDER == "NT"
  var b_line = line_b(min(col + line, p.cols - 1u));
#else
  let b_col = min(col / 4u + tx, (p.cols - 1u) / 4u);
#end
#include product_sums
#for i in 0..4
  store(row + ty * 4u + ${i}u, col + tx * 4u, total_${i});
#end
}
#end
