import type { MutationsByFile } from "./mutation.ts";

/** Of src/compute and src/mpi. */
export const COMPUTE: MutationsByFile = {
  "src/compute/open-device.ts": [
    [`return choice?.toLowerCase() === "cpu";`, `return choice === "cpu";`, "--device CPU is looked for among GPUs"],
  ],
  "src/compute/cpu/pieces.ts": [
    [
      "count: Math.ceil(rows / pieceRows) };",
      "count: Math.floor(rows / pieceRows) };",
      "the last, smaller piece of rows is never computed",
    ],
  ],
  "src/compute/cpu/queue.ts": [
    [
      "if (task !== undefined && task.number <= first.after) return false;",
      "",
      "commands begin before what the host does first",
    ],
  ],
  "src/compute/cpu/cores.ts": [
    ["quota / period : Infinity", "period / quota : Infinity", "a container's share of cores is upside down"],
  ],
  "src/compute/cpu/assembly/optimizer.ts": [
    [
      "min<f32>(1, p.clip / (norm + <f32>1e-6))",
      "p.clip / (norm + <f32>1e-6)",
      "gradients below the clipping norm are enlarged",
    ],
  ],
  "src/compute/cpu/assembly/philox.ts": [
    [
      "i32x4.gt_s(bytes, i32x4.splat(212))",
      "i32x4.gt_s(bytes, i32x4.splat(213))",
      "off by one in which draws of sparse bases are +1",
    ],
  ],
  "src/compute/cpu/families/rope.ts": [
    [`v: way("v") }, -1);`, `v: way("v") }, 1);`, "the gradient of rotary embeddings turns the wrong way"],
  ],
  "src/compute/cpu/native/choose.ts": [
    [`named === "" ? codes.at(-1)`, `named === "" ? codes[0]`, "the slowest code is taken instead of the fastest"],
  ],
  "src/compute/cpu/native/x64-words.ts": [
    [
      "at(ARGUMENTS, index * 4, word(bytes))",
      "at(ARGUMENTS, index * 4)",
      "arguments of all items of a list are read from the first",
    ],
  ],
  "src/compute/cpu/native/kernels/gemm.ts": [
    ["Math.min(pieceRows, p.rows - firstRow)", "pieceRows", "the last piece of a product goes beyond the matrix"],
  ],
  "src/compute/cpu/native/routines/softmax.ts": [
    [
      "m.subtract(added, added, top);",
      "m.subtract(added, top, added);",
      "swapped operands where chunks of attention are joined",
    ],
  ],
  "src/compute/device/blocks.ts": [["quotient < 0 ? -0.5 : 0.5", "0.5", "Q8_0 rounds negative weights towards zero"]],
  "src/compute/device/pairing.ts": [
    [
      "{ k: slow, j: fast } : { k: fast, j: slow }",
      "{ k: fast, j: slow } : { k: slow, j: fast }",
      "PEFT's pairing of bases and the paper's are swapped",
    ],
  ],
  "src/compute/device/families/delta.ts": [
    ["return Math.ceil(count / 4) * 4;", "return count;", "rows of ΔW are not padded"],
  ],
  "src/compute/gpu/choose.ts": [
    [
      "const found = exact ?? first;",
      "const found = first;",
      "a GPU whose whole name is given loses to one that begins alike",
    ],
  ],
  "src/compute/gpu/limits.ts": [
    [
      "Math.min(limits.maxStorageBufferBindingSize, mostBytes)",
      "limits.maxStorageBufferBindingSize",
      "lost bound: bindings exceed what was asked for",
    ],
  ],
  "src/compute/gpu/families/column-sums.ts": [
    ["const rows = a.shape[0] * segments;", "const rows = a.shape[0];", "a GPU sums the first segments of rows only"],
  ],
  "src/compute/gpu/kernels/adamw.wgsl": [
    ["mean[at] = m;", "mean[at] = old;", "AdamW on a GPU forgets its first moment"],
  ],
  "src/compute/random/kaiming.ts": [
    ["1 / Math.sqrt(input)", "1 / Math.sqrt(out)", "factors are initialized by the wrong dimension"],
  ],
  "src/compute/random/philox.ts": [["byte > 212", "byte >= 212", "off by one in which draws of sparse bases are +1"]],
  "src/compute/rows/norms.ts": [
    ["sub(h, mul(x, along))", "add(h, mul(x, along))", "wrong sign in the gradient of RMS norms"],
    ["weight), bias),", "weight)),", "layer norms drop their bias"],
  ],
  "src/compute/tensor/tape.ts": [
    [
      "if (value.held === 0 && value.released) this.#free",
      "if (value.held === 0) this.#free",
      "memory is reused that the forward pass still reads",
    ],
  ],
  "src/compute/tensor/tape-gradient.ts": [
    [
      "recordAdded(run, into, mine);",
      "recordCopy(run, into, mine);",
      "the gradient of a second use replaces that of the first",
    ],
  ],
  "src/compute/tensor/cases/compare.ts": [
    [
      "return isPadded && error <= tolerance;",
      "return error <= tolerance;",
      "the self-check accepts rows that do not end with zeros",
    ],
  ],
  "src/compute/tensor/cases/families/index.ts": [
    [
      "error: relativeError(values, wanted.data)",
      "error: 0 * relativeError(values, wanted.data)",
      "the self-check of kernels finds nothing wrong",
    ],
  ],
  "src/compute/tensor/ops/nll.ts": [
    ["(at(dy, row, 0) + at(dlse, row, 0))", "at(dy, row, 0)", "a gradient is dropped from the loss's reference"],
  ],
  "src/compute/rows/arithmetic.ts": [["sub(1, mul(share, share))", "sub(1, share)", "wrong slope of soft caps"]],
  "src/compute/cpu/native/routines/rows.ts": [
    ["m.less(chosen, b, x)", "m.less(chosen, x, b)", "gates are cut on the wrong side"],
  ],
  "src/mpi/launcher.ts": [
    ["size > 1 ? { by, size }", "size > 0 ? { by, size }", "a single process waits for an MPI library"],
  ],
};
