/** Words of the small buffer that the kernels of an optimiser step share; the constants of step-state.wgsl. */
export const STEP_STATE = { loss: 0, norm: 1, coefficient: 2, halted: 3 } as const;

/** Bytes of that buffer. */
export const STEP_STATE_BYTES = 16;
