import type { GatedDelta, GatedDeltaGradient, Regroup } from "../../device/families/gated-delta.ts";
import { giveScratch, takeScratch } from "../../device/scratch.ts";
import type { Tensor } from "../../device/tensor.ts";
import type { Dispatcher } from "../context.ts";
import { GATED_DELTA_FLAGS, GATED_DELTA_WIDTH, gatedDeltaKernels, REGROUP_KERNEL } from "../kernels/gated-delta.ts";

/** Rows of one dispatch at most. */
const MOST_ROWS = 65_535;

type Shared = Pick<GatedDelta, "qk" | "v" | "gates" | "decays" | "first" | "keyHeads" | "block" | "states">;

function given({ qk, v, gates, decays, first, keyHeads, block, states }: Shared) {
  const heads = gates.shape[1] / 2;
  const keySize = qk.shape[1] / 2 / keyHeads;
  const valueSize = v.shape[1] / heads;
  return {
    kernels: gatedDeltaKernels(keySize / 4),
    values: {
      heads,
      keyHeads,
      valueSize,
      block,
      queryScale: 1 / Math.sqrt(keySize),
      qk,
      v,
      gates,
      decaysAt: decays.offset,
      firstsAt: first?.offset ?? 0,
      states,
    },
    flags:
      (first === undefined ? 0 : GATED_DELTA_FLAGS.hasFirsts) |
      (states === undefined ? 0 : GATED_DELTA_FLAGS.hasStates),
    keyVectors: keySize / 4,
    groups: Math.ceil(valueSize / GATED_DELTA_WIDTH),
  };
}

export function gatedDelta(on: Dispatcher, { rows, firstPosition, y, ...operands }: GatedDelta): void {
  const { kernels, values, flags, groups } = given(operands);
  const { qk, v, gates, decays, first, states } = operands;
  const [tokens] = v.shape;
  const isEach = rows !== undefined;
  // No state: a place to bind that nothing is written to.
  const unused = states ?? takeScratch(on, "gated-delta.states", [1, 4]);
  on.dispatch(
    kernels.forward,
    {
      ...values,
      flags: flags | (isEach ? GATED_DELTA_FLAGS.hasRows : 0),
      tokens: isEach ? 1 : tokens,
      firstPosition,
      rowsAt: rows?.offset ?? 0,
      y,
    },
    [qk, v, gates, decays, first, rows, unused, y],
    [groups, values.heads, isEach ? tokens : 1],
  );
  if (states === undefined) giveScratch(on, unused);
}

/** Blocks from the last to the first, each in two dispatches. */
export function gatedDeltaGradient(on: Dispatcher, { dy, dqk, dv, dgates, ...operands }: GatedDeltaGradient): void {
  const { kernels, values, flags, keyVectors, groups } = given(operands);
  const { qk, v, gates, decays, first, states, block } = operands;
  const [tokens, columns] = v.shape;
  const perToken = columns * keyVectors;
  const scratch = takeScratch(on, "gated-delta.scratch", [1, 4 * ((2 * block + 1) * perToken + block * columns)]);
  const places = {
    slopesAt: block * perToken,
    carryAt: 2 * block * perToken,
    numbersAt: (2 * block + 1) * perToken,
  };
  for (let index = Math.ceil(tokens / block) - 1; index >= 0; index--) {
    const begin = index * block;
    const count = Math.min(block, tokens - begin);
    const isLast = begin + count === tokens;
    const parameters = { ...values, ...places, flags, begin, tokens: count, isLast, dy, dqk, dv, dgates };
    on.dispatch(
      kernels.columns,
      parameters,
      [qk, v, gates, decays, first, states, dy, scratch],
      [groups, values.heads],
    );
    on.dispatch(
      kernels.rows,
      parameters,
      [qk, gates, decays, dy, scratch, dqk, dv, dgates],
      [Math.ceil(keyVectors / GATED_DELTA_WIDTH), values.keyHeads, count],
    );
  }
  giveScratch(on, scratch);
}

export function regroup(on: Dispatcher, { x, groups, sizes, inverse, padded, y }: Regroup): void {
  const rows = x.shape[0];
  const cols = (inverse ? y : x).shape[1];
  const [size0 = 0, size1 = 0, size2 = 0, size3 = 0] = sizes;
  for (let first = 0; first < rows; first += MOST_ROWS) {
    const part = (tensor: Tensor) => ({ offset: tensor.offset + first * tensor.pitch, pitch: tensor.pitch });
    on.dispatch(
      REGROUP_KERNEL,
      { cols, groups, size0, size1, size2, size3, inverse, padded, x: part(x), y: part(y) },
      [x, y],
      [Math.ceil(cols / GATED_DELTA_WIDTH), Math.min(MOST_ROWS, rows - first)],
    );
  }
}
