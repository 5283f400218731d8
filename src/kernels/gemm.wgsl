// y = x Wᵀ (+ bias) (+ residual): the matrix path of a linear layer.
//
//   x (rows, terms)  f32         W (cols, terms)  stored as DTYPE         y (rows, cols)  f32
//
// STAGING "subgroup":  one subgroup of LANES lanes is a workgroup; each lane owns 4 columns of all rows of the tile,
//                      loads other rows of x than its neighbours, and they pass those values around by shuffles.
// STAGING "workgroup": 16×16 threads, 4×4 outputs each; slabs of x and W go through workgroup memory.
#if STAGING == "subgroup"
enable subgroups;
#end

struct Parameters {
  rows: u32,
  cols: u32, // of this block of W's rows
  terms: u32, // vectors of 4
  flags: u32,
  x_at: u32, // vectors before the first element, and from row to row
  x_pitch: u32,
  w_at: u32,
  w_pitch: u32,
  y_at: u32,
  y_pitch: u32,
  bias_at: u32,
  residual_at: u32,
  residual_pitch: u32,
  pad0: u32,
  pad1: u32,
  pad2: u32,
}

const HAS_BIAS = 1u;
const HAS_RESIDUAL = 2u;

#include matrix

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<Packed4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;

const TILE_ROWS = ${TILE_ROWS}u;
const TILE_COLS = ${TILE_COLS}u;
const SUM_BLOCK = 64u; // vectors in a partial sum: 256 terms, so that a long sum loses no more than a short one

// Stores four neighbours of a row; what lies beyond the last column stays zero.
fn store(row: u32, col: u32, product: vec4<f32>) {
  if (row >= p.rows || col >= p.cols) {
    return;
  }
  var value = product;
  if ((p.flags & HAS_BIAS) != 0u) {
    value += bias[p.bias_at + col / 4u];
  }
  if ((p.flags & HAS_RESIDUAL) != 0u) {
    value += residual[p.residual_at + row * p.residual_pitch + col / 4u];
  }
  let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
  y[p.y_at + row * p.y_pitch + col / 4u] = select(vec4<f32>(0.0), value, inside);
}

#if STAGING == "subgroup"
var<workgroup> tile: array<vec4<f32>, ${TILE_ROWS * LANES}>;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let row = workgroup.y * TILE_ROWS;
  let col = workgroup.x * TILE_COLS + lane * 4u;
#for a in 0..ROWS_PER_LANE
  let x_${a} = p.x_at + min(row + ${a * LANES}u + lane, p.rows - 1u) * p.x_pitch;
#end
#for n in 0..4
  let w_${n} = p.w_at + min(col + ${n}u, p.cols - 1u) * p.w_pitch;
#end
#for i in 0..TILE_ROWS
  var total_${i} = vec4<f32>(0.0);
#end
  for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for i in 0..TILE_ROWS
    var part_${i} = vec4<f32>(0.0);
#end
    let block_end = min(block + SUM_BLOCK, p.terms);
    for (var k = block; k < block_end; k += 1u) {
#for n in 0..4
      let c${n} = widen4(w[w_${n} + k]);
#end
      let s0 = vec4<f32>(c0.x, c1.x, c2.x, c3.x);
      let s1 = vec4<f32>(c0.y, c1.y, c2.y, c3.y);
      let s2 = vec4<f32>(c0.z, c1.z, c2.z, c3.z);
      let s3 = vec4<f32>(c0.w, c1.w, c2.w, c3.w);
#for a in 0..ROWS_PER_LANE
      let a_${a} = x[x_${a} + k];
#end
#for l in 0..LANES
#for a in 0..ROWS_PER_LANE
      {
        let v = ${SHUFFLE}(a_${a}, ${l}u);
        part_${a * LANES + l} = fma(vec4<f32>(v.x), s0, part_${a * LANES + l});
        part_${a * LANES + l} = fma(vec4<f32>(v.y), s1, part_${a * LANES + l});
        part_${a * LANES + l} = fma(vec4<f32>(v.z), s2, part_${a * LANES + l});
        part_${a * LANES + l} = fma(vec4<f32>(v.w), s3, part_${a * LANES + l});
      }
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
const SLAB = 4u; // vectors: 16 terms
var<workgroup> slab_x: array<vec4<f32>, 256>; // [term][row / 4]
var<workgroup> slab_w: array<vec4<f32>, 256>; // [term][col / 4]

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.y * TILE_ROWS;
  let col = workgroup.x * TILE_COLS;
  let tx = thread % 16u;
  let ty = thread / 16u;
  // This thread's share of the loads: one vector of a row of x, one of a row of W.
  let line = thread / 4u;
  let vector = thread % 4u;
  let x_row = p.x_at + min(row + line, p.rows - 1u) * p.x_pitch;
  let w_row = p.w_at + min(col + line, p.cols - 1u) * p.w_pitch;
#for i in 0..4
  var total_${i} = vec4<f32>(0.0);
#end
  for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for i in 0..4
    var part_${i} = vec4<f32>(0.0);
#end
    let block_end = min(block + SUM_BLOCK, p.terms);
    for (var k = block; k < block_end; k += SLAB) {
      let inside = k + vector < p.terms;
      let source = min(k + vector, p.terms - 1u);
      let x4 = select(vec4<f32>(0.0), x[x_row + source], inside);
      let w4 = select(vec4<f32>(0.0), widen4(w[w_row + source]), inside);
      workgroupBarrier();
#for t in 0..4
      slab_x[(vector * 4u + ${t}u) * 16u + line / 4u][line % 4u] = x4[${t}];
      slab_w[(vector * 4u + ${t}u) * 16u + line / 4u][line % 4u] = w4[${t}];
#end
      workgroupBarrier();
      for (var t = 0u; t < SLAB * 4u; t++) {
        let a = slab_x[t * 16u + ty];
        let b = slab_w[t * 16u + tx];
#for i in 0..4
        part_${i} = fma(vec4<f32>(a[${i}]), b, part_${i});
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
