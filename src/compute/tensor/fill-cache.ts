import type { CacheFilling } from "../device/families/attention.ts";
import { requireShapes } from "./op.ts";
import type { Run } from "./run.ts";

/**
 * Records how the queries, keys and values of a pass's tokens are normalized, turned and, but for the queries, written to a cache;
 * see the family, and OPS.rmsNorm and OPS.rope. No op, since it changes what it is given.
 * @throws RandloraError `model` when the shapes do not fit
 */
export function recordFilling(run: Run, filling: CacheFilling): void {
  const { headSize, qkv, keys, values, cos, sin, norms, rows } = filling;
  const [tokens, width] = qkv.shape;
  const [positions, kvWidth] = keys.shape;
  const heads = headSize % 4 === 0 && width % headSize === 0 && kvWidth % headSize === 0 && width > 2 * kvWidth;
  const room =
    values.shape[0] === positions && values.shape[1] === kvWidth && (rows !== undefined || positions >= tokens);
  const angles = cos.shape[1] === sin.shape[1] && 2 * cos.shape[1] <= headSize;
  const sameRows = cos.shape[0] === tokens && sin.shape[0] === tokens;
  const indices = rows === undefined || (rows.dtype === "U32" && rows.shape[1] === tokens);
  const normed =
    norms === undefined || [norms.q, norms.k].every(({ shape }) => shape[0] === 1 && shape[1] === headSize);
  const shapes = { qkv: qkv.shape, keys: keys.shape, values: values.shape, cos: cos.shape, sin: sin.shape };
  const fits = heads && room && angles && sameRows && indices && normed;
  requireShapes(
    "filling a cache",
    shapes,
    fits,
    `heads of ${headSize}, a row of angles for each token, and room for it`,
  );
  run.compute("fillCache", filling);
}
