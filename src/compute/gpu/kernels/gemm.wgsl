// y = scale · A B (+ bias) (+ residual) (+ y): products of matrices.
//
//   ORDER "NT":  a (rows, terms)   b (cols, terms)    y[i, j] = Σ a[i, k] · b[j, k]     a linear layer
//   ORDER "NN":  a (rows, terms)   b (terms, cols)    y[i, j] = Σ a[i, k] · b[k, j]     its gradient by x
//   ORDER "TN":  a (terms, rows)   b (terms, cols)    y[i, j] = Σ a[k, i] · b[k, j]     its gradient by W
//
// a and y are f32, b is stored as DTYPE. Rows of a and b are padded with zeros to whole vectors of 4. product.wgsl has the
// sums; gemm-integer.wgsl is another form.

#include gemm_operands
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
#include matrix, NAME = "b", BINDING = 2, SCALES = 6
#include product

#block slab
#include gemm_slab
#end
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.y * TILE_ROWS;
  let col = workgroup.x * TILE_COLS;
  let tx = thread % 16u;
  let ty = thread / 16u;
  let line = thread / 4u;
  let vector = thread % 4u;
  let terms = p.terms;
#if ORDER == "TN"
  let a_line = p.a_at + min(row / 4u + tx, (p.rows - 1u) / 4u);
#else
  let a_line = p.a_at + min(row + line, p.rows - 1u) * p.a_pitch;
#end
#if ORDER == "NT"
  var b_line = line_b(min(col + line, p.cols - 1u));
#else
  let b_first = 0u;
  let b_col = min(col / 4u + tx, (p.cols - 1u) / 4u);
#end
#include product_sums
#for i in 0..4
  store(row + ty * 4u + ${i}u, col + tx * 4u, total_${i});
#end
}
