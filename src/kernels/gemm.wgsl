// y = scale · A B (+ bias) (+ residual) (+ y): products of matrices, the inner sums in blocks of 256 terms.
//
//   ORDER "NT":  a (rows, terms)   b (cols, terms)    y[i, j] = Σ a[i, k] · b[j, k]     a linear layer
//   ORDER "NN":  a (rows, terms)   b (terms, cols)    y[i, j] = Σ a[i, k] · b[k, j]     its gradient by x
//   ORDER "TN":  a (terms, rows)   b (terms, cols)    y[i, j] = Σ a[k, i] · b[k, j]     its gradient by W
//
// a and y are f32, b is stored as DTYPE. Rows of a and b are padded with zeros to whole vectors of 4.
//
// STAGING "subgroup":  one subgroup of LANES lanes is a workgroup; each lane owns 4 columns of all rows of the tile,
//                      loads other parts of a than its neighbours, and they pass those values around by shuffles.
// STAGING "workgroup": 16×16 threads, 4×4 outputs each; slabs of a and b go through workgroup memory.
#if STAGING == "subgroup"
enable subgroups;
#end

struct Parameters {
  rows: u32, // of y
  cols: u32, // of y, in this block of b
  terms: u32,
  flags: u32,
  a_at: u32, // vectors of 4 before the first element, and from row to row
  a_pitch: u32,
  b_at: u32,
  b_pitch: u32,
  y_at: u32,
  y_pitch: u32,
  bias_at: u32,
  residual_at: u32,
  residual_pitch: u32,
  scale: f32,
  pad0: u32,
  pad1: u32,
}

const HAS_BIAS = 1u;
const HAS_RESIDUAL = 2u;
const ACCUMULATE = 4u; // y is added to, not assigned

#include matrix

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<Packed4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

const TILE_ROWS = ${TILE_ROWS}u;
const TILE_COLS = ${TILE_COLS}u;
const SUM_BLOCK = 256u; // terms in a partial sum, so that a long sum loses no more than a short one

// Stores four neighbours of a row; what lies beyond the last column becomes zero.
fn store(row: u32, col: u32, product: vec4<f32>) {
  if (row >= p.rows || col >= p.cols) {
    return;
  }
  var value = p.scale * product;
  if ((p.flags & HAS_BIAS) != 0u) {
    value += bias[p.bias_at + col / 4u];
  }
  if ((p.flags & HAS_RESIDUAL) != 0u) {
    value += residual[p.residual_at + row * p.residual_pitch + col / 4u];
  }
  let at = p.y_at + row * p.y_pitch + col / 4u;
  if ((p.flags & ACCUMULATE) != 0u) {
    value += y[at];
  }
  let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
  y[at] = select(vec4<f32>(0.0), value, inside);
}

#if STAGING == "subgroup"
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
  let b_${n} = p.b_at + min(col + ${n}u, p.cols - 1u) * p.b_pitch;
#end
#else
  let b_0 = p.b_at + min(col, p.cols - 1u) / 4u;
#end
#for i in 0..TILE_ROWS
  var total_${i} = vec4<f32>(0.0);
#end
  for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for i in 0..TILE_ROWS
    var part_${i} = vec4<f32>(0.0);
#end
    let block_end = min(block + SUM_BLOCK, p.terms);
    for (var k = block; k < block_end; k += 4u) {
      // s0 … s3: this lane's 4 columns of b at the terms k … k + 3. Beyond the last term a is zero.
#if ORDER == "NT"
#for n in 0..4
      let c${n} = widen4(b[b_${n} + k / 4u]);
#end
      let s0 = vec4<f32>(c0.x, c1.x, c2.x, c3.x);
      let s1 = vec4<f32>(c0.y, c1.y, c2.y, c3.y);
      let s2 = vec4<f32>(c0.z, c1.z, c2.z, c3.z);
      let s3 = vec4<f32>(c0.w, c1.w, c2.w, c3.w);
#else
#for t in 0..4
      let s${t} = widen4(b[b_0 + min(k + ${t}u, p.terms - 1u) * p.b_pitch]);
#end
#end
#for i in 0..ROWS_PER_LANE
#if ORDER == "TN"
      let inside_${i} = k + term_${i} < p.terms;
      let v_${i} = select(vec4<f32>(0.0), a[a_${i} + select(0u, k + term_${i}, inside_${i}) * p.a_pitch], inside_${i});
#else
      let v_${i} = a[a_${i} + k / 4u];
#end
#end
#if ORDER == "TN"
#for g in 0..TILE_ROWS / 4
      {
#for t in 0..4
        let v${t} = ${SHUFFLE}(v_${(TILE_ROWS / 4 * t + g) / LANES}, ${(TILE_ROWS / 4 * t + g) % LANES}u);
#end
#for r in 0..4
#for t in 0..4
        part_${4 * g + r} = fma(vec4<f32>(v${t}[${r}]), s${t}, part_${4 * g + r});
#end
#end
      }
#end
#else
#for l in 0..LANES
#for i in 0..ROWS_PER_LANE
      {
        let v = ${SHUFFLE}(v_${i}, ${l}u);
        part_${i * LANES + l} = fma(vec4<f32>(v.x), s0, part_${i * LANES + l});
        part_${i * LANES + l} = fma(vec4<f32>(v.y), s1, part_${i * LANES + l});
        part_${i * LANES + l} = fma(vec4<f32>(v.z), s2, part_${i * LANES + l});
        part_${i * LANES + l} = fma(vec4<f32>(v.w), s3, part_${i * LANES + l});
      }
#end
#end
#end
    }
#for i in 0..TILE_ROWS
    total_${i} += part_${i};
#end
  }
  // One copy of `store` in a loop compiles faster than one a row; each lane reads back what it wrote.
#for i in 0..TILE_ROWS
  tile[${i * LANES}u + lane] = total_${i};
#end
  for (var i = 0u; i < TILE_ROWS; i++) {
    store(row + i, col, tile[i * ${LANES}u + lane]);
  }
}
#else
const SLAB = 16u; // terms
var<workgroup> slab_a: array<vec4<f32>, 256>; // [term][row / 4]
var<workgroup> slab_b: array<vec4<f32>, 256>; // [term][col / 4]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.y * TILE_ROWS;
  let col = workgroup.x * TILE_COLS;
  let tx = thread % 16u;
  let ty = thread / 16u;
  // This thread's share of the loads is one vector of each matrix. Where terms follow each other in memory it holds
  // 4 terms of a line (a row or column of y), else 4 lines at one term.
  let line = thread / 4u;
  let vector = thread % 4u;
#if ORDER == "TN"
  let a_line = p.a_at + min(row / 4u + tx, (p.rows - 1u) / 4u);
#else
  let a_line = p.a_at + min(row + line, p.rows - 1u) * p.a_pitch;
#end
#if ORDER == "NT"
  let b_line = p.b_at + min(col + line, p.cols - 1u) * p.b_pitch;
#else
  let b_line = p.b_at + min(col / 4u + tx, (p.cols - 1u) / 4u);
#end
#for i in 0..4
  var total_${i} = vec4<f32>(0.0);
#end
  for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for i in 0..4
    var part_${i} = vec4<f32>(0.0);
#end
    let block_end = min(block + SUM_BLOCK, p.terms);
    for (var k = block; k < block_end; k += SLAB) {
#if ORDER != "TN"
      let inside_4 = k + vector * 4u < p.terms;
      let source_4 = min(k / 4u + vector, (p.terms - 1u) / 4u);
#end
#if ORDER != "NT"
      let inside_1 = k + ty < p.terms;
      let source_1 = min(k + ty, p.terms - 1u);
#end
#if ORDER == "TN"
      let a4 = select(vec4<f32>(0.0), a[a_line + source_1 * p.a_pitch], inside_1);
#else
      let a4 = select(vec4<f32>(0.0), a[a_line + source_4], inside_4);
#end
#if ORDER == "NT"
      let b4 = select(vec4<f32>(0.0), widen4(b[b_line + source_4]), inside_4);
#else
      let b4 = select(vec4<f32>(0.0), widen4(b[b_line + source_1 * p.b_pitch]), inside_1);
#end
      workgroupBarrier();
#if ORDER == "TN"
      slab_a[thread] = a4;
#else
#for t in 0..4
      slab_a[(vector * 4u + ${t}u) * 16u + line / 4u][line % 4u] = a4[${t}];
#end
#end
#if ORDER == "NT"
#for t in 0..4
      slab_b[(vector * 4u + ${t}u) * 16u + line / 4u][line % 4u] = b4[${t}];
#end
#else
      slab_b[thread] = b4;
#end
      workgroupBarrier();
      for (var t = 0u; t < SLAB; t++) {
        let from_a = slab_a[t * 16u + ty];
        let from_b = slab_b[t * 16u + tx];
#for i in 0..4
        part_${i} = fma(vec4<f32>(from_a[${i}]), from_b, part_${i});
#end
      }
    }
#for i in 0..4
    total_${i} += part_${i};
#end
  }
#for i in 0..4
  store(row + ty * 4u + ${i}u, col + tx * 4u, total_${i});
#end
}
#end
