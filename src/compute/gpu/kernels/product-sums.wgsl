// Part of product.wgsl, inside `main`: sums of the tile over `p.terms` terms, total_0 … in registers. What it includes:
//
//   STAGING "subgroup":  `right`  s0 … s3: this lane's 4 columns at the terms `term` … `term + 3`
//                        `left`   v_0 … of ROWS_PER_LANE: by LEFT, 4 terms of row `lane` of each LANES rows ("rows"), or the
//                                 tile's vectors of 4 rows, one term after the other ("terms"). Zero beyond the last term.
//                        total_i is row i, this lane's 4 columns.
//   STAGING "workgroup": `slab`   left4 and right4, by LEFT and RIGHT: 4 terms, from `term + 4 · vector` on, of line `line`
//                                 of the tile ("rows"), or 4 lines from 4 · tx on at `term + ty` ("terms"). Of one operand
//                                 zero beyond the last term.
//                        total_i is row 4 · ty + i, columns 4 · tx … 4 · tx + 3.
#if STAGING == "subgroup"
#for i in 0..TILE_ROWS
var total_${i} = vec4<f32>(0.0);
#end
for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for i in 0..TILE_ROWS
  var part_${i} = vec4<f32>(0.0);
#end
  let block_end = min(block + SUM_BLOCK, p.terms);
  for (var term = block; term < block_end; term += 4u) {
#include right
#include left
#if LEFT == "rows"
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
#else
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
#end
  }
#for i in 0..TILE_ROWS
  total_${i} += part_${i};
#end
}
#else
#for i in 0..4
var total_${i} = vec4<f32>(0.0);
#end
for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for i in 0..4
  var part_${i} = vec4<f32>(0.0);
#end
  let block_end = min(block + SUM_BLOCK, p.terms);
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
#end
