// Products of groups of rows, each with a matrix of its own; group g has rows begins[g] … begins[g + 1] − 1. By ORDER, as in gemm.wgsl:
//
//   "NT", "NN":  y = a b_gᵀ, a b_g     workgroups along y are tiles of rows, group after group; those beyond the last have nothing to do
//   "TN":        y_g += aᵀ b           rows of a and b are the terms; workgroups along z are the groups
#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
#include matrix, NAME = "b", BINDING = 2, SCALES = 5
@group(0) @binding(3) var<storage, read> begins: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;
#include product

#block slab
#include gemm_slab
#end

// Stores four neighbors of a row before `end`; what lies beyond the last column becomes zero.
fn store(row: u32, end: u32, y_first: u32, col: u32, product: vec4<f32>) {
  if (row >= end || col >= p.cols) {
    return;
  }
  let at = p.y_at + (y_first + row) * p.y_pitch + col / 4u;
  let inside = vec4<u32>(col) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
#if ORDER == "TN"
  y[at] = select(vec4<f32>(0.0), y[at] + product, inside);
#else
  y[at] = select(vec4<f32>(0.0), product, inside);
#end
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let col = workgroup.x * TILE_COLS;
  let tx = thread % 16u;
  let ty = thread / 16u;
  let line = thread / 4u;
  let vector = thread % 4u;
#if ORDER == "TN"
  let group = workgroup.z;
  let b_first = begins[p.begins_at + group];
  let terms = begins[p.begins_at + group + 1u] - b_first;
  let row = (p.first_tile + workgroup.y) * TILE_ROWS;
  let end = p.rows;
  let y_first = group * p.rows;
  let a_line = p.a_at + b_first * p.a_pitch + min(row / 4u + tx, (p.rows - 1u) / 4u);
#else
  var tile = p.first_tile + workgroup.y;
  var group = 0u;
  for (; group < p.groups; group++) {
    let rows = begins[p.begins_at + group + 1u] - begins[p.begins_at + group];
    let tiles = (rows + TILE_ROWS - 1u) / TILE_ROWS;
    if (tile < tiles) {
      break;
    }
    tile -= tiles;
  }
  if (group == p.groups) {
    return;
  }
  let terms = p.terms;
  let row = begins[p.begins_at + group] + tile * TILE_ROWS;
  let end = begins[p.begins_at + group + 1u];
  let y_first = 0u;
  let a_line = p.a_at + min(row + line, end - 1u) * p.a_pitch;
#if ORDER == "NT"
  var b_line = line_b(group * p.cols + min(col + line, p.cols - 1u));
#else
  let b_first = group * p.terms;
#end
#end
#if ORDER != "NT"
  let b_col = min(col / 4u + tx, (p.cols - 1u) / 4u);
#end
#include product_sums
#for i in 0..4
  store(row + ty * 4u + ${i}u, end, y_first, col + tx * 4u, total_${i});
#end
}
