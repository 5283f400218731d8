import type { MutationsByFile } from "./mutation.ts";

/** Of src/adapters. */
export const ADAPTERS: MutationsByFile = {
  "src/adapters/budget.ts": [
    ["sum + countOf(some), shared)", "sum + countOf(some), 0)", "shared parameters are not counted against a budget"],
  ],
  "src/adapters/convert/gguf-adapter.ts": [
    ["(first?.scale || 1)", "(first?.scale ?? 1)", "a LoRA with an alpha of 0 becomes a GGUF adapter of NaN"],
  ],
  "src/adapters/formats/convert.ts": [
    ["await beside?.commit();", "", "the class names beside a converted adapter are not published"],
  ],
  "src/adapters/base/target-modules.ts": [
    ["index !== undefined && wanted.has(Number(index))", "index !== undefined", "--layers is ignored"],
  ],
  "src/adapters/delta/sum-of-plans.ts": [
    [
      "at === 0 ? block : { ...block, accumulate: true }",
      "block",
      "the last part of a sum takes the place of the others",
    ],
  ],
  "src/adapters/method/training.ts": [
    [
      "stream: [step, microBatch * 2 ** 16 + module]",
      "stream: [step, module]",
      "all micro-batches of a step drop the same",
    ],
  ],
  "src/adapters/delta/low-rank/product.ts": [
    [
      "productReference(left, right, scale * factor)",
      "productReference(left, right, scale)",
      "verification ignores --scale",
    ],
  ],
  "src/adapters/delta/magnitude/trainable.ts": [
    ["[weight, held.tensor]", "[weight, undefined]", "DoRA's norms are those of the weights without ΔW"],
  ],
  "src/adapters/delta/scaled-bases/few-rows.ts": [
    ["recordZero(run, inner);", "", "sums begin with what was in memory before"],
  ],
  "src/adapters/delta/through-weights/adapted-linear.ts": [
    [
      "recordDropout(run, whole, masks(index), dx, true);",
      "recordDropout(run, whole, masks(index), dx, false);",
      "the gradient through an adapter with dropout replaces the base's",
    ],
  ],
  "src/adapters/dora/method.ts": [["use_dora === true", "use_dora !== true", "LoRA and DoRA are taken for each other"]],
  "src/adapters/files/std-cache.ts": [
    [`root["version"] !== VERSION || `, "", "missing check: another version's file is believed"],
  ],
  "src/adapters/formula/deltas.ts": [["const scaled = scale * factor;", "const scaled = scale;", "--scale is ignored"]],
  "src/adapters/frozen/kind.ts": [
    [
      'if (stored.has("BF16") && stored.has("F16")) return undefined;',
      "",
      "missing refusal: bases are drawn on a grid that nobody recorded",
    ],
  ],
  "src/adapters/frozen/drawing/dense.ts": [
    [
      "final[bits | SIGN] = pattern | SIGN;",
      "final[bits | SIGN] = pattern;",
      "negative elements of bases in half precision lose their sign",
    ],
  ],
  "src/adapters/methods.ts": [
    ["parameters: rows * cols };", "parameters: rows };", "full fine-tuning reports too few parameters"],
  ],
  "src/adapters/hybrid/config.ts": [
    [
      ".filter(([key]) => RANDLORA_KEYS.has(key))",
      ".filter(([key]) => !RANDLORA_KEYS.has(key))",
      "LoRA's rank is written over RandLoRA's",
    ],
  ],
  "src/adapters/formulas/kradapter.ts": [
    ["b: Math.ceil(long / a) };", "b: Math.floor(long / a) };", "the last rows of a Khatri-Rao product have no factor"],
  ],
  "src/adapters/lora/config.ts": [
    [
      "alpha / (config.rslora ? Math.sqrt(rank) : rank)",
      "alpha / rank",
      "rank-stabilized LoRA is scaled as a plain one",
    ],
  ],
  "src/adapters/formulas/miss.ts": [
    ["Math.min(r, input - col)", "r", "MiSS adds a whole last block of columns where fewer are left"],
  ],
  "src/adapters/merge/stored-weight.ts": [
    ["Math.abs(value) >= limit", "Math.abs(value) > limit", "a weight that rounds to infinity is not counted"],
  ],
  "src/adapters/merge/combine/rows.ts": [
    ["< limit ? 1 / density : 0", "< limit ? 1 : 0", "DARE does not rescale what it keeps"],
    ["above + here >= rank", "above + here > rank", "off by one in how many elements TIES keeps"],
  ],
  "src/adapters/merge/in-memory/deltas.ts": [
    ["if (data.every(Number.isFinite)) return", "if (data.length > 0) return", "missing check: a ΔW with NaN is used"],
  ],
  "src/adapters/merge/tensor-stream.ts": [
    ["this.#bytes -= first.bytes;", "", "bytes of finished steps are never given back"],
    [
      "for (const deltas of stream.#uploads) await stream.#release(deltas).catch(() => {});",
      "",
      "a failed merge leaves ΔW on its way to a device that is given back",
    ],
  ],
  "src/adapters/merge/to-files/verify.ts": [
    [
      "Math.floor(Math.log2(Math.abs(value)))",
      "Math.ceil(Math.log2(Math.abs(value)))",
      "--verify allows twice the error of rounding",
    ],
  ],
  "src/adapters/merge/to-gguf/sink.ts": [
    ["this.#rest = all.slice(whole);", "this.#rest = new Uint8Array();", "part of a block is lost between two writes"],
  ],
  "src/adapters/nola/draws.ts": [["1 / Math.sqrt(bases)", "1 / bases", "NOLA's bases are scaled by their number"]],
  "src/adapters/pranc/stream.ts": [
    ["alpha / Math.sqrt(bases * input)", "alpha / Math.sqrt(bases)", "PRANC's bases are not scaled by the width"],
  ],
  "src/adapters/randlora/config.ts": [
    ["v.optional(finiteNumber, 640)", "v.optional(finiteNumber, 64)", "wrong default of randlora_alpha"],
  ],
  "src/adapters/convert/to-lora.ts": [
    ["scale(vectors[k] ?? other, root);", "", "a singular value's root is missing from one factor"],
  ],
  "src/adapters/svd/singular-values.ts": [
    ["return Math.exp(entropy);", "return entropy;", "the effective rank is an entropy"],
  ],
  "src/adapters/method/parameters.ts": [
    [
      "(row + 1) * cols), row * tensor.pitch);",
      "(row + 1) * cols), row * cols);",
      "rows of a parameter are written without their padding",
    ],
  ],
  "src/adapters/vera/plan.ts": [
    ["Math.max(most, module.in), 0)", "Math.max(most, module.out), 0)", "VeRA's A is as wide as the largest output"],
  ],
};
