import type { MethodName } from "../../adapters/method-names.ts";
import type { MethodCase } from "./walk-method.ts";

/** What each adapter method is asked for in its walk. */
export const METHOD_CASES: Readonly<Record<Exclude<MethodName, "full">, MethodCase>> = {
  randlora: {
    asked: { rank: 6, learningRate: 5e-3 },
    trained: ["randlora_lambda", "randlora_gamma"],
    bases: "saved",
  },
  lora: { asked: { rank: 4, rslora: true, learningRate: 5e-3 }, trained: ["lora_A.weight", "lora_B.weight"] },
  dora: {
    asked: { rank: 4, learningRate: 1e-2 },
    // The norms are constants of its backward pass: no slopes of A and B.
    trained: ["lora_magnitude_vector"],
  },
  vera: {
    asked: { rank: 20, dInitial: 0.3, basisSeed: "7", learningRate: 3e-2 },
    trained: ["vera_lambda_b", "vera_lambda_d"],
    bases: "saved",
  },
  nola: {
    asked: { rank: 4, bases: 40, basisSeed: "-7", learningRate: 2e-2 },
    trained: ["nola_coefficients_A", "nola_coefficients_B"],
    bases: "philox-v1",
  },
  pranc: {
    asked: { bases: 24, alpha: 3, basisSeed: "-5", learningRate: 0.05 },
    trained: ["pranc_coefficients"],
    bases: "philox-v1",
  },
  kradapter: { asked: { rank: 5, learningRate: 1e-2 }, trained: ["kradapter_U", "kradapter_V"] },
  miss: { asked: { rank: 5, learningRate: 1e-2 }, trained: ["miss_block"] },
  gralora: { asked: { rank: 4, alpha: 3, learningRate: 5e-3 }, trained: ["gralora_B"] },
  c3a: { asked: { rank: 4, learningRate: 0.5 }, trained: ["c3a_kernel"] },
  hira: { asked: { rank: 4, learningRate: 5e-2 }, trained: ["hira_B"] },
  shira: { asked: { rank: 4, learningRate: 2e-2 }, trained: ["shira_weight"] },
  delora: { asked: { rank: 4, alpha: 2, learningRate: 1e-2 }, trained: ["delora_A", "delora_B", "delora_lambda"] },
  oft: { asked: { rank: 4, learningRate: 1e-2 }, trained: ["oft_R.weight"] },
  hybrid: {
    asked: { rank: 8, loraRank: 2, learningRate: 5e-3 },
    trained: ["randlora_lambda", "lora_B.weight"],
    bases: "saved",
  },
};
