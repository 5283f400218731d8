// The core of every product of matrices: a workgroup's tile of left · right, summed in blocks of at most 256 terms, so that
// a long sum loses no more than a short one. A kernel says in blocks of its own how operands are loaded, whatever they are
// stored as, then includes product_sums, and does with the sums what it is for.
// 16×16 threads have 4×4 sums each; slabs of both operands go through workgroup memory.
const TILE_ROWS = ${TILE_ROWS}u;
const TILE_COLS = ${TILE_COLS}u;
const SUM_BLOCK = 256u;
const SLAB = 16u; // terms
// What neighboring threads read and write lies in different banks: "rows" are [line % 4][line / 4][4 vectors of 4 terms], with
// a vector unused behind each line and four behind 16 of them; "terms" are [term][16 vectors of 4 lines].
const LINE = 5u;
const LINES = 84u;
var<workgroup> slab_left: array<vec4<f32>, ${256 + 80 * (LEFT == "rows")}>;
var<workgroup> slab_right: array<vec4<f32>, ${256 + 80 * (RIGHT == "rows")}>;
