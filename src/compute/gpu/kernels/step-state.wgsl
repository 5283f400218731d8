// Words of the small buffer that the kernels of a step share; those of STEP_STATE in step-state.ts.
const LOSS = 0u; // f32, summed over the micro-batches
const NORM = 1u; // f32, of all gradients, before clipping
const COEFFICIENT = 2u; // f32, what clipping multiplies gradients by
const HALTED = 3u; // 1 once the loss or the norm was not finite: nothing is updated any more

// Compares bits: drivers may assume that there is no NaN and no infinity.
fn is_finite(bits: u32) -> bool {
  return (bits & 0x7f800000u) != 0x7f800000u;
}
