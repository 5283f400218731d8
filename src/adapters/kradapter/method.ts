import { kaimingUniform } from "../../compute/random/kaiming.ts";
import { type FormulaMethod, formulaMethod } from "../formula/method.ts";
import { khatriRao, khatriRaoShape } from "./formula.ts";

/** The spread of V, kaiming_uniform_(a = 5), beside that of a = √5. */
const SPREAD = Math.sqrt(6 / 26);

/**
 * KRAdapter (Albert et al., arXiv:2508.00230): ΔW is the Khatri–Rao product of two trained matrices. As in the authors'
 * layer (github.com/PaulAlbert31/KRAdapter) U begins at zero and V at random, the scale is 2, and the products lie along
 * the longer side of W, whose end leaves some out. The rank is the number of U's rows, which is √long where nothing is
 * said: the fewest parameters.
 */
export const KRADAPTER: FormulaMethod<"u" | "v"> = {
  name: "kradapter",
  title: "KRAdapter",
  peftType: "KRADAPTER",
  usual: { rank: 1024, rankFits: true, alphaPerRank: 2, learningRate: 1e-4 },
  most: (modules) => Math.max(...modules.map((module) => khatriRaoShape(module, Infinity).a)),
  tensors: {
    names: { u: "kradapter_U", v: "kradapter_V" },
    shapes({ r }, module) {
      const { a, b, short } = khatriRaoShape(module, r);
      return { u: [a, short], v: [b, short] };
    },
    meaning: "U is (a, short) and V (b, short): short is W's shorter side, a at most r, a · b at least the longer one",
  },
  start(module, rank, seed, stream) {
    const { b, short } = khatriRaoShape(module, rank);
    return { v: () => kaimingUniform(short, b, seed, stream).map((value) => value * SPREAD) };
  },
  formula: khatriRao,
  notes(modules, rank) {
    const most = KRADAPTER.most(modules);
    if (rank <= most) return [];
    return [`KRAdapter's rank ${rank} is more than √ of a layer's longer side: it trains what rank ${most} does`];
  },
  // U takes V's sums of G, and V takes U's.
  terms: 2,
};

export const kradapter = formulaMethod(KRADAPTER);
