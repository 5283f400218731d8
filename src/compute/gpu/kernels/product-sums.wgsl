// Part of product.wgsl, inside `main`: sums of the tile over `terms` terms, in registers: total_i is row 4 · ty + i, columns
// 4 · tx … 4 · tx + 3. It includes the kernel's block `slab`: left4 and right4, by LEFT and RIGHT: 4 terms, from
// `term + 4 · vector` on, of line `line` of the tile ("rows"), or 4 lines from 4 · tx on at `term + ty` ("terms"). Of one
// operand they are zero beyond the last term.
#for i in 0..4
var total_${i} = vec4<f32>(0.0);
#end
for (var block = 0u; block < terms; block += SUM_BLOCK) {
#for i in 0..4
  var part_${i} = vec4<f32>(0.0);
#end
  let block_end = min(block + SUM_BLOCK, terms);
  for (var term = block; term < block_end; term += SLAB) {
#include slab
    workgroupBarrier();
#for t in 0..4
#if LEFT == "rows"
    slab_left[(vector * 4u + ${t}u) * TILE_ROWS + line] = left4[${t}];
#else
    slab_left[ty * TILE_ROWS + tx * 4u + ${t}u] = left4[${t}];
#end
#if RIGHT == "rows"
    slab_right[(vector * 4u + ${t}u) * TILE_COLS + line] = right4[${t}];
#else
    slab_right[ty * TILE_COLS + tx * 4u + ${t}u] = right4[${t}];
#end
#end
    workgroupBarrier();
    for (var t = 0u; t < SLAB; t++) {
      let l = t * TILE_ROWS + ty * 4u;
      let r = t * TILE_COLS + tx * 4u;
      let right_ = vec4<f32>(slab_right[r], slab_right[r + 1u], slab_right[r + 2u], slab_right[r + 3u]);
#for i in 0..4
      part_${i} = fma(vec4<f32>(slab_left[l + ${i}u]), right_, part_${i});
#end
    }
  }
#for i in 0..4
  total_${i} += part_${i};
#end
}
