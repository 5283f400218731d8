import { METHOD_CASES } from "../testing/method-cases.ts";
import { walkExperts } from "../testing/walk-experts.ts";

// What experts.slow.test.ts has is not here; rank-r's factors are worked out of RandLoRA's bases.
const { lora: _, randlora, ...others } = METHOD_CASES;
walkExperts({ ...others, "randlora rank-r": { ...randlora, asked: { ...randlora.asked, variant: "rank-r" } } });
