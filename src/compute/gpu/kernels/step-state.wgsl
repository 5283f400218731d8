// The small buffer that the kernels of a step share, whose words are those of STEP_STATE.
#include step_state_words

// Compares bits: drivers may assume that there is no NaN and no infinity.
fn is_finite(bits: u32) -> bool {
  return (bits & 0x7f800000u) != 0x7f800000u;
}
