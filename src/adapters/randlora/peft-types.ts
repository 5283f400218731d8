import type { Pairing } from "../../kernels/pairing.ts";

/** PEFT's name for RandLoRA, and ours for the pairing of bases and rows of Ŝ that PEFT has not. */
export const PEFT_TYPES = { peft: "RANDLORA", paper: "RANDLORA_PAPER" } as const satisfies Record<Pairing, string>;

/** RandLoRA, of either pairing, whose rows of W + ΔW have magnitudes of their own (the paper's repository: `use_dora`). */
export const DORA_TYPE = "RANDLORA_DORA";
