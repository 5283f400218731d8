// The core of every product of matrices: a workgroup's tile of left · right, summed in blocks of at most 256 terms, so that
// a long sum loses no more than a short one. A kernel says in blocks of its own how operands are loaded, whatever they are
// stored as, then includes product_sums, and does with the sums what it is for.
// 16×16 threads have 4×4 sums each; slabs of both operands go through workgroup memory.
const TILE_ROWS = ${TILE_ROWS}u;
const TILE_COLS = ${TILE_COLS}u;
const SUM_BLOCK = 256u;
const SLAB = 16u; // terms
// [term][row], [term][column]. Numbers, not vectors: several threads would write components of one vector.
var<workgroup> slab_left: array<f32, 1024>;
var<workgroup> slab_right: array<f32, 1024>;
