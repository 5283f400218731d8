// ΔW = scale · B̂ Ŝ, added to W and rounded once (RandLoRA; PEFT's randlora/layer.py, get_delta_weight).
//
//   B̂   (rows, terms)  row-major, term q; stored as STORAGE_B: bf16 | f16 | f32 | ternary | philox
//   A   (r, cols)      row-major; stored as STORAGE_A. Ternary values are ±1: their size is part of `scale`
//   Ŝ   (terms, cols)  never stored: Ŝ[q, c] = λ[q] · A[k, c] · γ[j, c]
//   W   (rows, cols), or (cols, rows) when `transposed`; read and written in any of f32, f16, bf16
//
// PAIRING "peft":  q = k·n + j, so γ is the fast operand (its row changes with every term) and A the slow one.
// PAIRING "paper": q = j·r + k, so A is the fast operand and γ the slow one. λ is stored in the order of q.
//
// STAGING "subgroup":  one subgroup of LANES lanes is a workgroup; each lane owns 4 columns of all rows of the tile,
//                      loads other rows of B̂ than its neighbours, and they pass those values around by shuffles.
// STAGING "workgroup": 16×16 threads, 4×4 outputs each; slabs of B̂ and Ŝ go through workgroup memory.
#if STAGING == "subgroup"
enable subgroups;
#end

#include dtype
#if STORAGE_B == "philox" || STORAGE_A == "philox"
#include philox
#end

struct Parameters {
  rows: u32, // of this dispatch
  cols: u32,
  terms: u32, // n·r
  fast_count: u32, // n (peft) or r (paper)
  first_row: u32, // of this dispatch, in B̂ as drawn and in a transposed W
  first_col: u32, // in A, γ and a plain W
  b_stride: u32, // elements from row to row, multiples of 16, 8, 4 and 4
  a_stride: u32,
  gamma_stride: u32,
  w_pitch: u32,
  transposed: u32,
  flags: u32,
  source_dtype: u32,
  target_dtype: u32,
  scale: f32,
  workgroups_x: u32,
  key: vec2<u32>, // philox
  threshold: u32, // philox, very sparse; 0 for the others
  dense: u32, // philox: 1 dense, 0 ternary
  a_drawn: u32, // columns of A as drawn (min)
  b_drawn: u32, // terms of B̂ as drawn (bases · r)
  first_statistic: u32,
  pad: u32,
}

const HAS_WEIGHT = 1u; // W is read; without it the result is ΔW alone
const HAS_SUM = 2u; // an f32 ΔW of the adapters before this one is added
const ROUND_DELTA = 4u; // ΔW is rounded to the target dtype before it is added (`--rounding peft`)

@group(0) @binding(0) var<uniform> p: Parameters;
#if STORAGE_B == "bf16" || STORAGE_B == "f16"
@group(0) @binding(1) var<storage, read> basis_b: array<vec2<u32>>;
#else
#if STORAGE_B == "f32"
@group(0) @binding(1) var<storage, read> basis_b: array<vec4<f32>>;
#else
@group(0) @binding(1) var<storage, read> basis_b: array<u32>;
#end
#end
#if STORAGE_A == "bf16" || STORAGE_A == "f16"
@group(0) @binding(2) var<storage, read> basis_a: array<vec2<u32>>;
#else
#if STORAGE_A == "f32"
@group(0) @binding(2) var<storage, read> basis_a: array<vec4<f32>>;
#else
@group(0) @binding(2) var<storage, read> basis_a: array<u32>;
#end
#end
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> lambda: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> weight: array<u32>;
@group(0) @binding(6) var<storage, read> sum: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> target_: array<u32>;
@group(0) @binding(8) var<storage, read_write> statistics: array<vec4<f32>>; // per workgroup: max, Σx², changed, not finite

// ---- operands: four neighbouring elements --------------------------------------------------------------------------

fn ternary4(codes: u32) -> vec4<f32> {
  let code = (vec4<u32>(codes) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u);
  return vec4<f32>(code & vec4<u32>(1u)) - vec4<f32>(code >> vec4<u32>(1u));
}

// The block of random words that was drawn last; rows are walked forwards, so each block is drawn once.
struct Drawn {
  block: u32,
  words: vec4<u32>,
}
const NOTHING_DRAWN = Drawn(0xffffffffu, vec4<u32>(0u));

#if STORAGE_B == "philox" || STORAGE_A == "philox"
fn drawn_word(drawn: ptr<function, Drawn>, stream: u32, index: u32) -> u32 {
  let block = index / 4u;
  if ((*drawn).block != block) {
    (*drawn).block = block;
    (*drawn).words = philox4x32_10(vec4<u32>(block, 0u, stream, 0u), p.key);
  }
  return (*drawn).words[index & 3u];
}

// Elements first … first + 3 of a stream, at any alignment; ternary ones as ±1.
fn draw4(drawn: ptr<function, Drawn>, stream: u32, first: u32) -> vec4<f32> {
  if (p.threshold != 0u) {
    let index = first / 2u;
    var low = drawn_word(drawn, stream, index);
    var high = drawn_word(drawn, stream, index + 1u);
    if ((first & 1u) == 1u) {
      low = (low >> 16u) | (high << 16u);
      high = (high >> 16u) | (drawn_word(drawn, stream, index + 2u) << 16u);
    }
    return vec4<f32>(philox_very_sparse(low, p.threshold, 1.0), philox_very_sparse(high, p.threshold, 1.0));
  }
  var word = drawn_word(drawn, stream, first / 4u);
  let shift = (first & 3u) * 8u;
  if (shift != 0u) {
    word = (word >> shift) | (drawn_word(drawn, stream, first / 4u + 1u) << (32u - shift));
  }
  if (p.dense == 1u) {
    return philox_dense(word);
  }
  return philox_sparse(word, 1.0);
}
#end

// B̂[row, q … q+3], row counted from the first bound row.
fn load_b(drawn: ptr<function, Drawn>, row: u32, q: u32) -> vec4<f32> {
#if STORAGE_B == "bf16"
  return widen4_bf16(basis_b[(row * p.b_stride + q) / 4u]);
#end
#if STORAGE_B == "f16"
  return widen4_f16(basis_b[(row * p.b_stride + q) / 4u]);
#end
#if STORAGE_B == "f32"
  return basis_b[(row * p.b_stride + q) / 4u];
#end
#if STORAGE_B == "ternary"
  return ternary4(basis_b[(row * p.b_stride + q) / 16u] >> ((q & 12u) * 2u));
#end
#if STORAGE_B == "philox"
  return draw4(drawn, 1u, (p.first_row + row) * p.b_drawn + q);
#end
}

// A[k, c … c+3].
fn load_a(k: u32, c: u32) -> vec4<f32> {
#if STORAGE_A == "bf16"
  return widen4_bf16(basis_a[(k * p.a_stride + c) / 4u]);
#end
#if STORAGE_A == "f16"
  return widen4_f16(basis_a[(k * p.a_stride + c) / 4u]);
#end
#if STORAGE_A == "f32"
  return basis_a[(k * p.a_stride + c) / 4u];
#end
#if STORAGE_A == "ternary"
  return ternary4(basis_a[(k * p.a_stride + c) / 16u] >> ((c & 12u) * 2u));
#end
#if STORAGE_A == "philox"
  var drawn = NOTHING_DRAWN;
  return draw4(&drawn, 0u, k * p.a_drawn + c);
#end
}

fn load_gamma(j: u32, c: u32) -> vec4<f32> {
  return gamma[(j * p.gamma_stride + c) / 4u];
}

#if PAIRING == "peft"
fn load_fast(index: u32, c: u32) -> vec4<f32> { return load_gamma(index, c); }
fn load_slow(index: u32, c: u32) -> vec4<f32> { return load_a(index, c); }
#else
fn load_fast(index: u32, c: u32) -> vec4<f32> { return load_a(index, c); }
fn load_slow(index: u32, c: u32) -> vec4<f32> { return load_gamma(index, c); }
#end

// ---- the tail: scale, add, round once, store, count ----------------------------------------------------------------

// Four neighbours of W at element `at` (a multiple of 4); `inside` marks those that exist.
fn finish(at: u32, product: vec4<f32>, inside: vec4<bool>) -> vec4<f32> {
  var delta = product * p.scale;
  if ((p.flags & HAS_SUM) != 0u) {
    delta += sum[at / 4u];
  }
  if ((p.flags & ROUND_DELTA) != 0u) {
    delta = through_dtype(delta, p.target_dtype);
  }
  var old = vec4<f32>(0.0);
  if ((p.flags & HAS_WEIGHT) != 0u) {
    if (p.source_dtype == F32) {
      old = bitcast<vec4<f32>>(vec4<u32>(weight[at], weight[at + 1u], weight[at + 2u], weight[at + 3u]));
    } else {
      let words = vec2<u32>(weight[at / 2u], weight[at / 2u + 1u]);
      if (p.source_dtype == BF16) { old = widen4_bf16(words); } else { old = widen4_f16(words); }
    }
  }
  let new_ = old + delta;
  var before: vec4<u32>;
  var after: vec4<u32>;
  if (p.target_dtype == F32) {
    before = bitcast<vec4<u32>>(old);
    after = bitcast<vec4<u32>>(new_);
    target_[at] = after.x;
    target_[at + 1u] = after.y;
    target_[at + 2u] = after.z;
    target_[at + 3u] = after.w;
  } else {
    var words: vec2<u32>;
    if (p.target_dtype == BF16) {
      words = round4_bf16(new_);
      before = bitcast<vec4<u32>>(widen4_bf16(round4_bf16(old)));
      after = bitcast<vec4<u32>>(widen4_bf16(words));
    } else {
      words = round4_f16(new_);
      before = bitcast<vec4<u32>>(widen4_f16(round4_f16(old)));
      after = bitcast<vec4<u32>>(widen4_f16(words));
    }
    target_[at / 2u] = words.x;
    target_[at / 2u + 1u] = words.y;
  }
  let counted = select(vec4<f32>(0.0), delta, inside);
  let size = abs(counted);
  let changed = select(vec4<f32>(0.0), vec4<f32>(1.0), inside & (before != after));
  let infinite = vec4<u32>(0x7f800000u);
  let broken = select(vec4<f32>(0.0), vec4<f32>(1.0), inside & ((after & infinite) == infinite));
  let one = vec4<f32>(1.0);
  return vec4<f32>(max(max(size.x, size.y), max(size.z, size.w)), dot(counted, counted), dot(changed, one), dot(broken, one));
}

fn merge_statistics(left: vec4<f32>, right: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(max(left.x, right.x), left.yzw + right.yzw);
}

const TILE_ROWS = ${TILE_ROWS}u;
const TILE_COLS = ${TILE_COLS}u;
const CHUNK_ROWS = ${CHUNK_ROWS}u; // rows of the tile that are finished together
const THREADS = ${THREADS}u;

var<workgroup> tile: array<f32, ${CHUNK_ROWS * TILE_COLS}>;

// Finishes `CHUNK_ROWS` rows of products that lie in `tile`. `row`, `col`: the chunk's place in this dispatch.
fn finish_chunk(row: u32, col: u32, thread: u32) -> vec4<f32> {
  var found = vec4<f32>(0.0);
  for (var unit = thread; unit < CHUNK_ROWS * TILE_COLS / 4u; unit += THREADS) {
    if (p.transposed == 0u) {
      let r = unit / (TILE_COLS / 4u);
      let c = (unit % (TILE_COLS / 4u)) * 4u;
      if (row + r < p.rows && col + c < p.cols) {
        let at = r * TILE_COLS + c;
        let product = vec4<f32>(tile[at], tile[at + 1u], tile[at + 2u], tile[at + 3u]);
        let inside = vec4<u32>(col + c) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.cols);
        found = merge_statistics(found, finish((row + r) * p.w_pitch + p.first_col + col + c, product, inside));
      }
    } else {
      let c = unit / (CHUNK_ROWS / 4u);
      let r = (unit % (CHUNK_ROWS / 4u)) * 4u;
      if (row + r < p.rows && col + c < p.cols) {
        let at = r * TILE_COLS + c;
        let product = vec4<f32>(tile[at], tile[at + TILE_COLS], tile[at + 2u * TILE_COLS], tile[at + 3u * TILE_COLS]);
        let inside = vec4<u32>(row + r) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.rows);
        found = merge_statistics(found, finish((col + c) * p.w_pitch + p.first_row + row + r, product, inside));
      }
    }
  }
  return found;
}

// Partial sums of at most this many terms, so that a long sum loses no more than a short one.
const SUM_BLOCK = 256u;

#if STAGING == "subgroup"
// ---- one subgroup a workgroup --------------------------------------------------------------------------------------

@compute @workgroup_size(${LANES})
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let row = workgroup.y * TILE_ROWS;
  let col = workgroup.x * TILE_COLS;
  let c = p.first_col + col + lane * 4u;
#for a in 0..ROWS_PER_LANE
  let row_${a} = min(row + ${a * LANES}u + lane, p.rows - 1u);
  var drawn_${a} = NOTHING_DRAWN;
#end
#for i in 0..TILE_ROWS
  var total_${i} = vec4<f32>(0.0);
#end
  var j = 0u; // of the fast operand
  var k = 0u; // of the slow one
  var slow = load_slow(0u, c);
  for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for i in 0..TILE_ROWS
    var part_${i} = vec4<f32>(0.0);
#end
    let block_end = min(block + SUM_BLOCK, p.terms);
    for (var q = block; q < block_end; q += 4u) {
      var s0: vec4<f32>;
      var s1: vec4<f32>;
      var s2: vec4<f32>;
      var s3: vec4<f32>;
      if (j + 4u <= p.fast_count) {
        s0 = slow * load_fast(j, c);
        s1 = slow * load_fast(j + 1u, c);
        s2 = slow * load_fast(j + 2u, c);
        s3 = slow * load_fast(j + 3u, c);
        j += 4u;
        if (j == p.fast_count) {
          j = 0u;
          k += 1u;
          slow = load_slow(k, c);
        }
      } else {
#for t in 0..4
        s${t} = load_slow(k, c) * load_fast(j, c);
        j += 1u;
        if (j == p.fast_count) {
          j = 0u;
          k += 1u;
        }
#end
        slow = load_slow(k, c);
      }
      let scales = lambda[q / 4u]; // zero beyond the last term
#for a in 0..ROWS_PER_LANE
      let b_${a} = load_b(&drawn_${a}, row_${a}, q) * scales;
#end
#for l in 0..LANES
#for a in 0..ROWS_PER_LANE
      {
        let x = ${SHUFFLE}(b_${a}, ${l}u);
        part_${a * LANES + l} = fma(vec4<f32>(x.x), s0, part_${a * LANES + l});
        part_${a * LANES + l} = fma(vec4<f32>(x.y), s1, part_${a * LANES + l});
        part_${a * LANES + l} = fma(vec4<f32>(x.z), s2, part_${a * LANES + l});
        part_${a * LANES + l} = fma(vec4<f32>(x.w), s3, part_${a * LANES + l});
      }
#end
#end
    }
#for i in 0..TILE_ROWS
    total_${i} += part_${i};
#end
  }
#for i in 0..TILE_ROWS
  {
    let at = ${i}u * TILE_COLS + lane * 4u;
    tile[at] = total_${i}.x;
    tile[at + 1u] = total_${i}.y;
    tile[at + 2u] = total_${i}.z;
    tile[at + 3u] = total_${i}.w;
  }
#end
  workgroupBarrier();
  let found = finish_chunk(row, col, thread);
  let all = vec4<f32>(subgroupMax(found.x), subgroupAdd(found.y), subgroupAdd(found.z), subgroupAdd(found.w));
  if (thread == 0u) {
    statistics[p.first_statistic + workgroup.y * p.workgroups_x + workgroup.x] = all;
  }
}
#else
// ---- 16×16 threads, slabs in workgroup memory ----------------------------------------------------------------------

const SLAB = 16u; // terms
var<workgroup> slab_b: array<vec4<f32>, 256>; // [term][row / 4]
var<workgroup> slab_s: array<vec4<f32>, 256>; // [term][col / 4]
var<workgroup> gathered: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let row = workgroup.y * TILE_ROWS;
  let col = workgroup.x * TILE_COLS;
  let tx = thread % 16u;
  let ty = thread / 16u;
  let b_row = min(row + thread / 4u, p.rows - 1u);
  let b_term = (thread % 4u) * 4u;
  var drawn = NOTHING_DRAWN;
#for i in 0..4
  var total_${i} = vec4<f32>(0.0);
#end
  for (var block = 0u; block < p.terms; block += SUM_BLOCK) {
#for i in 0..4
    var part_${i} = vec4<f32>(0.0);
#end
    let block_end = min(block + SUM_BLOCK, p.terms);
    for (var q = block; q < block_end; q += SLAB) {
      // Terms beyond the last meet λ = 0; the index is held back so that nothing is read from another row.
      let b_q = min(q + b_term, (p.terms - 1u) & ~3u);
      let b4 = select(vec4<f32>(0.0), load_b(&drawn, b_row, b_q) * lambda[b_q / 4u], q + b_term < p.terms);
      workgroupBarrier();
#for t in 0..4
      slab_b[(b_term + ${t}u) * 16u + thread / 16u][(thread / 4u) % 4u] = b4[${t}];
#end
      let term = min(q + ty, p.terms - 1u);
      let c = p.first_col + col + tx * 4u;
      slab_s[ty * 16u + tx] = load_slow(term / p.fast_count, c) * load_fast(term % p.fast_count, c);
      workgroupBarrier();
      for (var t = 0u; t < SLAB; t++) {
        let b = slab_b[t * 16u + ty];
        let s = slab_s[t * 16u + tx];
#for i in 0..4
        part_${i} = fma(vec4<f32>(b[${i}]), s, part_${i});
#end
      }
    }
#for i in 0..4
    total_${i} += part_${i};
#end
  }
  var found = vec4<f32>(0.0);
  for (var chunk = 0u; chunk < TILE_ROWS; chunk += CHUNK_ROWS) {
    workgroupBarrier();
    if (ty * 4u / CHUNK_ROWS == chunk / CHUNK_ROWS) {
#for i in 0..4
      {
        let at = (ty * 4u - chunk + ${i}u) * TILE_COLS + tx * 4u;
        tile[at] = total_${i}.x;
        tile[at + 1u] = total_${i}.y;
        tile[at + 2u] = total_${i}.z;
        tile[at + 3u] = total_${i}.w;
      }
#end
    }
    workgroupBarrier();
    found = merge_statistics(found, finish_chunk(row + chunk, col, thread));
  }
  gathered[thread] = found;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      gathered[thread] = merge_statistics(gathered[thread], gathered[thread + half]);
    }
  }
  if (thread == 0u) {
    statistics[p.first_statistic + workgroup.y * p.workgroups_x + workgroup.x] = gathered[0];
  }
}
#end
