import type { Attention } from "../../device/families/attention.ts";
import { ATTENTION_TILE_ROWS, attentionKernel, attentionParameters } from "../kernels/attention.ts";
import { sliceCols, sliceRows } from "../../device/tensor.ts";
import { place, whole } from "../bindings.ts";
import type { Dispatcher } from "../context.ts";
import { rowsOfWork } from "../work.ts";

/** Tokens are taken in parts where keys are many: what each sees does not depend on the others. */
export function attention(on: Dispatcher, operands: Attention): void {
  const { q, keys, first, last, firstPosition, window, y, lse } = operands;
  const [tokens, width] = q.shape;
  const seen = Math.min(keys.shape[0], window);
  const step = rowsOfWork(4 * width * seen, ATTENTION_TILE_ROWS);
  for (let token = 0; token < tokens; token += step) {
    const count = Math.min(step, tokens - token);
    const some = {
      ...operands,
      q: sliceRows(q, token, count),
      y: sliceRows(y, token, count),
      first: first && sliceCols(first, token, count),
      last: last && sliceCols(last, token, count),
      lse: lse && sliceRows(lse, token, count),
      firstPosition: firstPosition + token,
    };
    someTokens(on, some, 4 * width * seen * count);
  }
}

function someTokens(on: Dispatcher, operands: Attention, work: number): void {
  const { q, keys, values, first, last, headSize, firstPosition, scale, window, softcap, y, lse } = operands;
  const kvHeads = keys.shape[1] / headSize;
  const group = q.shape[1] / headSize / kvHeads;
  const pairs = q.shape[0] * group;
  const extras = first !== undefined || last !== undefined || lse !== undefined;
  on.dispatch(
    attentionKernel(headSize, softcap !== undefined, extras),
    attentionParameters({
      tokens: q.shape[0],
      group,
      firstPosition,
      window: Math.min(window, 0x7fffffff),
      scale,
      cap: softcap ?? 0,
      q: place(q),
      k: place(keys),
      v: place(values),
      y: place(y),
      flags: Number(first !== undefined) + 2 * Number(last !== undefined) + 4 * Number(lse !== undefined),
      firstsAt: first?.offset ?? 0,
      lastsAt: last?.offset ?? 0,
      sums: [lse?.offset ?? 0, lse?.pitch ?? 0],
      heads: q.shape[1] / headSize,
    }),
    [
      ...[q, keys, values, y].map((tensor) => whole(on, tensor)),
      ...(extras ? [first ?? q, last ?? q].map((tensor) => whole(on, tensor)) : []),
      ...(extras ? [lse === undefined ? on.nothing : whole(on, lse)] : []),
    ],
    [Math.ceil(pairs / ATTENTION_TILE_ROWS), kvHeads],
    work,
  );
}
