// y = scale · A Bᵀ (+ bias) (+ residual) (+ y) by products of whole numbers, for GPUs with integer dot products: a (rows, terms)
// as rounded-rows.wgsl rounds it, b (cols, terms) in blocks, stored as DTYPE. Four terms are two dot products, one with each
// half of a's numbers; a block's sum is exact, and scaled once. 16×16 threads compute 4×4 sums each of a tile of 64×64, and
// blocks of both operands go through workgroup memory.
#include gemm_operands
@group(0) @binding(1) var<storage, read> a: array<vec2<u32>>; // high and low halves of four terms
#include matrix, NAME = "b", BINDING = 2, SCALES = 6
@group(0) @binding(7) var<storage, read> a_scales: array<f32>; // of 256 terms of a row

const TILE = 64u;
const SUM_BLOCK = 256u; // terms that share a scale of a
const BLOCK = 32u; // of b

// [vector of 4 terms][row], [vector of 4 terms][column], [column]
var<workgroup> slab_a: array<vec2<u32>, 512>;
var<workgroup> slab_b: array<u32, 512>;
var<workgroup> scales_b: array<f32, 64>;

fn dots(x: u32, w: vec4<u32>) -> vec4<i32> {
  return vec4<i32>(dot4I8Packed(x, w.x), dot4I8Packed(x, w.y), dot4I8Packed(x, w.z), dot4I8Packed(x, w.w));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.y * TILE;
  let col = workgroup.x * TILE;
  let tx = thread % 16u;
  let ty = thread / 16u;
  let line = thread / 4u;
  let vector = thread % 4u;
  let a_line = p.a_at + min(row + line, p.rows - 1u) * p.a_pitch;
  let b_line = line_b(min(col + line, p.cols - 1u));
#for i in 0..4
  let scales_${i} = min(row + ty * 4u + ${i}u, p.rows - 1u) * p.a_scales_pitch;
  var total_${i} = vec4<f32>(0.0);
#end
  for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for i in 0..4
    var part_${i} = vec4<f32>(0.0);
#end
    let block_end = min(block + SUM_BLOCK, p.terms);
    for (var term = block; term < block_end; term += BLOCK) {
      let at = term / 4u + vector;
#for half in 0..2
      let a${half} = a[a_line + at + ${4 * half}u];
      let b${half} = wholes4_b(b_line + at + ${4 * half}u);
#end
      workgroupBarrier();
#for half in 0..2
      slab_a[(vector + ${4 * half}u) * TILE + line] = a${half};
      slab_b[(vector + ${4 * half}u) * TILE + line] = b${half};
#end
      if (vector == 0u) {
        scales_b[line] = wholes_scale(b_line + at);
      }
      workgroupBarrier();
#for i in 0..4
      var high_${i} = vec4<i32>(0);
      var low_${i} = vec4<i32>(0);
#end
      for (var v = 0u; v < BLOCK / 4u; v++) {
        let l = v * TILE + ty * 4u;
        let r = v * TILE + tx * 4u;
        let right = vec4<u32>(slab_b[r], slab_b[r + 1u], slab_b[r + 2u], slab_b[r + 3u]);
#for i in 0..4
        {
          let left = slab_a[l + ${i}u];
          high_${i} += dots(left.x, right);
          low_${i} += dots(left.y, right);
        }
#end
      }
      let scale = vec4<f32>(scales_b[tx * 4u], scales_b[tx * 4u + 1u], scales_b[tx * 4u + 2u], scales_b[tx * 4u + 3u]);
#for i in 0..4
      part_${i} = fma(vec4<f32>(256 * high_${i} + low_${i}), scale, part_${i});
#end
    }
#for i in 0..4
    total_${i} = fma(vec4<f32>(a_scales[scales_${i} + block / SUM_BLOCK]), part_${i}, total_${i});
#end
  }
#for i in 0..4
  store(row + ty * 4u + ${i}u, col + tx * 4u, total_${i});
#end
}
