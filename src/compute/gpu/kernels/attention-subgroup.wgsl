
// ---- one subgroup a workgroup: keys 4·lane … 4·lane + 3 of a tile belong to a lane ---------------------------------
const TILE_KEYS = ${4 * LANES}u;
var<workgroup> scores: array<vec4<f32>, ${TILE_ROWS * LANES}>;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let pairs = p.tokens * p.group;
  let first_pair = workgroup.x * TILE_ROWS;
  let last_pair = min(first_pair + TILE_ROWS, pairs) - 1u;
  let kv_head = workgroup.y;
  let slice = workgroup.z * ${VECTORS_PER_LANE * LANES}u; // of the outputs; scores are computed for each slice
#for a in 0..ROWS_PER_LANE
  let q_${a} = p.q_at + element_of(min(first_pair + ${a * LANES}u + lane, pairs - 1u), kv_head, p.q_pitch);
#end
#for i in 0..TILE_ROWS
  let last_${i} = last_key(min(first_pair + ${i}u, pairs - 1u));
  let first_${i} = first_key(min(first_pair + ${i}u, pairs - 1u));
  var top_${i} = NEVER;
  var sum_${i} = vec4<f32>(0.0);
#for d in 0..VECTORS_PER_LANE
  var out_${i}_${d} = vec4<f32>(0.0);
#end
#end
  var begin = first_0;
  var end = last_${TILE_ROWS - 1}; // the last key of the tile
#if EXTRAS
#for i in 0..TILE_ROWS
  begin = min(begin, first_${i});
  end = max(end, last_${i});
#end
#end
  for (var base = begin / TILE_KEYS * TILE_KEYS; base <= end; base += TILE_KEYS) {
#if EXTRAS
    // Sequences lie far apart: between them nobody looks, and what is no number in one (0 · NaN) is not for others.
    var shown = 0u; // keys up to the last that a pair sees which sees any of the tile
#for i in 0..TILE_ROWS
    let looks_${i} = first_${i} < base + TILE_KEYS && last_${i} >= base;
    shown = max(shown, select(0u, last_${i} + 1u, looks_${i}));
#end
    if (shown == 0u) {
      continue;
    }
    let end_here = shown - 1u;
#else
    let end_here = end;
#end
    let key = vec4<u32>(base + lane * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let row = vec4<u32>(p.k_at + kv_head * HEAD) + min(key, vec4<u32>(end_here)) * p.k_pitch;
#for i in 0..TILE_ROWS
    var s_${i} = vec4<f32>(0.0);
#end
    for (var d = 0u; d < HEAD; d++) {
      let k0 = keys[row.x + d];
      let k1 = keys[row.y + d];
      let k2 = keys[row.z + d];
      let k3 = keys[row.w + d];
      let c0 = vec4<f32>(k0.x, k1.x, k2.x, k3.x);
      let c1 = vec4<f32>(k0.y, k1.y, k2.y, k3.y);
      let c2 = vec4<f32>(k0.z, k1.z, k2.z, k3.z);
      let c3 = vec4<f32>(k0.w, k1.w, k2.w, k3.w);
#for a in 0..ROWS_PER_LANE
      let a_${a} = q[q_${a} + d];
#end
#for l in 0..LANES
#for a in 0..ROWS_PER_LANE
      {
        let x = ${SHUFFLE}(a_${a}, ${l}u);
        s_${a * LANES + l} += x.x * c0 + x.y * c1 + x.z * c2 + x.w * c3;
      }
#end
#end
    }
#for i in 0..TILE_ROWS
    s_${i} *= p.scale;
#end
#if SOFTCAP
    // One copy of tanh in a loop compiles faster than one a row; each lane reads back what it wrote.
#for i in 0..TILE_ROWS
    scores[${i * LANES}u + lane] = s_${i};
#end
    for (var i = 0u; i < TILE_ROWS; i++) {
      scores[i * ${LANES}u + lane] = capped(scores[i * ${LANES}u + lane]);
    }
#for i in 0..TILE_ROWS
    s_${i} = scores[${i * LANES}u + lane];
#end
#end
#for i in 0..TILE_ROWS
    {
      let seen = (key <= vec4<u32>(last_${i})) & (key >= vec4<u32>(first_${i}));
      let score = select(vec4<f32>(NEVER), s_${i}, seen);
      let top = max(top_${i}, subgroupMax(max(max(score.x, score.y), max(score.z, score.w))));
      let shrink = exp(top_${i} - top);
      s_${i} = select(vec4<f32>(0.0), exp(score - top), seen);
      sum_${i} = sum_${i} * shrink + s_${i};
      top_${i} = top;
#for d in 0..VECTORS_PER_LANE
      out_${i}_${d} *= shrink;
#end
    }
#end
#for d in 0..VECTORS_PER_LANE
    {
      let column = p.v_at + kv_head * HEAD + min(slice + ${d * LANES}u + lane, HEAD - 1u);
#for i in 0..TILE_ROWS
      var part_${i} = vec4<f32>(0.0);
#end
      for (var l = 0u; l < ${LANES}u; l++) {
        let source = min(vec4<u32>(base + l * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(end_here));
        let v0 = values[column + source.x * p.v_pitch];
        let v1 = values[column + source.y * p.v_pitch];
        let v2 = values[column + source.z * p.v_pitch];
        let v3 = values[column + source.w * p.v_pitch];
#for i in 0..TILE_ROWS
        {
          let x = subgroupShuffle(s_${i}, l);
          part_${i} += x.x * v0 + x.y * v1 + x.z * v2 + x.w * v3;
        }
#end
      }
#for i in 0..TILE_ROWS
#if EXTRAS
      out_${i}_${d} = select(out_${i}_${d}, out_${i}_${d} + part_${i}, looks_${i});
#else
      out_${i}_${d} += part_${i};
#end
#end
    }
#end
  }
  // Stores in a loop, here as well, through what each lane reads back itself.
#for i in 0..TILE_ROWS
  let total_${i} = subgroupAdd(dot(sum_${i}, vec4<f32>(1.0)));
#end
#for d in 0..VECTORS_PER_LANE
#for i in 0..TILE_ROWS
  scores[${i * LANES}u + lane] = out_${i}_${d} / total_${i};
#end
  for (var i = 0u; first_pair + i <= last_pair; i++) {
    if (slice + ${d * LANES}u + lane < HEAD) {
      let to = p.y_at + element_of(first_pair + i, kv_head, p.y_pitch);
      y[to + slice + ${d * LANES}u + lane] = scores[i * ${LANES}u + lane];
    }
  }
#end
#if EXTRAS
#for i in 0..TILE_ROWS
  scores[${i * LANES}u + lane] = vec4<f32>(top_${i} + log(total_${i}));
#end
  for (var i = 0u; first_pair + i <= last_pair && slice == 0u && lane == 0u; i++) {
    store_sum(first_pair + i, kv_head, scores[i * ${LANES}u + lane].x);
  }
#end
}
