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
#if LEFT == "rows"
    slab_left[(line % 4u) * LINES + line / 4u * LINE + vector] = left4;
#else
    slab_left[ty * 16u + tx] = left4;
#end
#if RIGHT == "rows"
    slab_right[(line % 4u) * LINES + line / 4u * LINE + vector] = right4;
#else
    slab_right[ty * 16u + tx] = right4;
#end
    workgroupBarrier();
    for (var t = 0u; t < SLAB / 4u; t++) {
#for i in 0..4
#if LEFT == "rows"
      let left_${i} = slab_left[${i}u * LINES + ty * LINE + t];
#else
      let left_${i} = slab_left[(t * 4u + ${i}u) * 16u + ty];
#end
#if RIGHT == "rows"
      let right_${i} = slab_right[${i}u * LINES + tx * LINE + t];
#else
      let right_${i} = slab_right[(t * 4u + ${i}u) * 16u + tx];
#end
#end
#for k in 0..4
      {
#if RIGHT == "rows"
        let right_ = vec4<f32>(right_0[${k}], right_1[${k}], right_2[${k}], right_3[${k}]);
#else
        let right_ = right_${k};
#end
#for i in 0..4
#if LEFT == "rows"
        part_${i} = fma(vec4<f32>(left_${i}[${k}]), right_, part_${i});
#else
        part_${i} = fma(vec4<f32>(left_${k}[${i}]), right_, part_${i});
#end
#end
      }
#end
    }
  }
#for i in 0..4
  total_${i} += part_${i};
#end
}
