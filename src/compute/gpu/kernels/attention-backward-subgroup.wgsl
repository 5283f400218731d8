
// ---- the staging of software GPUs: one subgroup is a workgroup -----------------------------------------------------
// Each lane owns 4 columns. Each lane loads another row than its neighbors, and they pass those values around by
// shuffles. All scores of a column are in its lane, so that lanes exchange nothing else.
const LANES = ${LANES}u;
const TILE = ${ROWS}u; // rows whose scores are computed at once
const BLOCK = ${BLOCK}u; // rows whose weights are kept; at most 256, because sums run over them

var<workgroup> weights: array<vec4<f32>, ${BLOCK * LANES}>;
var<workgroup> slopes: array<vec4<f32>, ${BLOCK * LANES}>;
var<workgroup> turned: array<vec4<f32>, ${4 * LANES * LANES}>;

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let kv_head = workgroup.y;
  let columns = ${COLUMNS};
  let first_column = workgroup.x * ${4 * LANES}u;
  let last_column = min(first_column + ${4 * LANES - 1}u, columns - 1u);
  let column = vec4<u32>(first_column + lane * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
  let mine = min(column, vec4<u32>(last_column));
#if PASS == "keys"
  let begin = first_pair(first_column);
  let end = p.tokens * p.group;
#else
#for n in 0..4
  let stats_${n} = stats_of(mine[${n}], kv_head);
#end
  let log_sum = vec4<f32>(stats_0.x, stats_1.x, stats_2.x, stats_3.x);
  let offset = vec4<f32>(stats_0.y, stats_1.y, stats_2.y, stats_3.y);
  let first_seen = vec4<u32>(first_key(stats_0), first_key(stats_1), first_key(stats_2), first_key(stats_3));
  let last_seen = vec4<u32>(last_key(stats_0), last_key(stats_1), last_key(stats_2), last_key(stats_3));
  let begin = subgroupMin(min(min(first_seen.x, first_seen.y), min(first_seen.z, first_seen.w)));
  let end = subgroupMax(max(max(last_seen.x, last_seen.y), max(last_seen.z, last_seen.w))) + 1u;
#end
#for o in 0..RESULTS
  for (var n = 0u; n < 4u; n++) {
    for (var d = 0u; d < p.head && column[n] < columns; d++) {
      out${o}[p.out${o}_at + element_of_${COLUMN}(column[n], kv_head, p.out${o}_pitch) + d] = vec4<f32>(0.0);
    }
  }
#end

  for (var block = begin; block < end; block += BLOCK) {
    let block_end = min(block + BLOCK, end);
#if PASS == "keys"
    // Pairs that see keys behind or before these alone add nothing.
    var nearest = 0xffffffffu;
    var furthest = 0u;
    for (var row = block; row < block_end; row += LANES) {
      let stats_row = stats_of(min(row + lane, block_end - 1u), kv_head);
      nearest = min(nearest, first_key(stats_row));
      furthest = max(furthest, last_key(stats_row));
    }
    if (subgroupMin(nearest) > last_column || subgroupMax(furthest) < first_column) {
      continue;
    }
#end
    for (var tile = block; tile < block_end; tile += TILE) {
#for o in 0..2
      {
#for n in 0..4
        let col_${n} = p.cols${o}_at + element_of_${COLUMN}(mine[${n}], kv_head, p.cols${o}_pitch);
#end
#for a in 0..ROWS_PER_LANE
        let row_${a} = p.rows${o}_at + element_of_${ROW}(min(tile + ${a * LANES}u + lane, end - 1u), kv_head, p.rows${o}_pitch);
#end
#for i in 0..ROWS
        var s_${i} = vec4<f32>(0.0);
#end
        for (var d = 0u; d < p.head; d++) {
#for n in 0..4
          let c${n} = cols${o}[col_${n} + d];
#end
          let x = vec4<f32>(c0.x, c1.x, c2.x, c3.x);
          let y = vec4<f32>(c0.y, c1.y, c2.y, c3.y);
          let z = vec4<f32>(c0.z, c1.z, c2.z, c3.z);
          let w = vec4<f32>(c0.w, c1.w, c2.w, c3.w);
#for a in 0..ROWS_PER_LANE
          let r_${a} = rows${o}[row_${a} + d];
#end
#for l in 0..LANES
#for a in 0..ROWS_PER_LANE
          {
            let v = ${SHUFFLE}(r_${a}, ${l}u);
            s_${a * LANES + l} = fma(vec4<f32>(v.x), x, s_${a * LANES + l});
            s_${a * LANES + l} = fma(vec4<f32>(v.y), y, s_${a * LANES + l});
            s_${a * LANES + l} = fma(vec4<f32>(v.z), z, s_${a * LANES + l});
            s_${a * LANES + l} = fma(vec4<f32>(v.w), w, s_${a * LANES + l});
          }
#end
#end
        }
#for i in 0..ROWS
#if o == 0
        weights[(tile - block + ${i}u) * LANES + lane] = s_${i};
#else
        slopes[(tile - block + ${i}u) * LANES + lane] = s_${i};
#end
#end
      }
#end
    }
    for (var row = block; row < block_end; row++) {
#if PASS == "keys"
      let stats_row = stats_of(row, kv_head);
      let log_sum = vec4<f32>(stats_row.x);
      let offset = vec4<f32>(stats_row.y);
      let seen = (column >= vec4<u32>(first_key(stats_row))) & (column <= vec4<u32>(last_key(stats_row)));
#else
      let seen = (vec4<u32>(row) >= first_seen) & (vec4<u32>(row) <= last_seen);
#end
      let at = (row - block) * LANES + lane;
      let weighed = weigh(weights[at], slopes[at], log_sum, offset, seen);
      weights[at] = weighed.weight;
      slopes[at] = weighed.slope;
    }
    // Sums over the rows of the block, for LANES vectors of the head at a time; t_i is of element i, for 4 columns.
    for (var first = 0u; first < p.head; first += LANES) {
      let source = min(first + lane, p.head - 1u);
#for o in 0..RESULTS
      {
#for i in 0..4 * LANES
        var t_${i} = vec4<f32>(0.0);
#end
        for (var row = block; row < block_end; row++) {
          let r = rows${o}[p.rows${o}_at + element_of_${ROW}(row, kv_head, p.rows${o}_pitch) + source];
#if o == 0
          let factor = slopes[(row - block) * LANES + lane];
#else
          let factor = weights[(row - block) * LANES + lane];
#end
#for l in 0..LANES
          {
            let v = ${SHUFFLE}(r, ${l}u);
            t_${4 * l} = fma(vec4<f32>(v.x), factor, t_${4 * l});
            t_${4 * l + 1} = fma(vec4<f32>(v.y), factor, t_${4 * l + 1});
            t_${4 * l + 2} = fma(vec4<f32>(v.z), factor, t_${4 * l + 2});
            t_${4 * l + 3} = fma(vec4<f32>(v.w), factor, t_${4 * l + 3});
          }
#end
        }
#for l in 0..LANES
#for n in 0..4
        turned[${4 * l + n}u * LANES + lane] =
          vec4<f32>(t_${4 * l}[${n}], t_${4 * l + 1}[${n}], t_${4 * l + 2}[${n}], t_${4 * l + 3}[${n}]);
#end
#end
        // One copy in a loop compiles faster than one a vector; each lane reads back what it wrote.
        for (var e = 0u; e < 4u * min(LANES, p.head - first); e++) {
          if (column[e % 4u] < columns) {
            let to = p.out${o}_at + element_of_${COLUMN}(column[e % 4u], kv_head, p.out${o}_pitch) + first + e / 4u;
            out${o}[to] += turned[e * LANES + lane];
          }
        }
      }
#end
    }
  }
}
