/** `--outtype`: what the matrices of a GGUF file are stored as; vectors are always F32. */
export const OUTTYPES = ["keep", "f32", "f16", "bf16", "q8_0", "q4_0"] as const;
export type Outtype = (typeof OUTTYPES)[number];
