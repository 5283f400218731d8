import * as v from "valibot";

/** What `analyze cka --json` says that a page needs. */
export const ALIKE = v.object({
  layers: v.array(v.object({ name: v.string(), cka: v.record(v.string(), v.nullable(v.number())) })),
  samples: v.number(),
});

const loss = v.nullable(v.number());

/** Of `analyze plane --json`. */
export const PLANE = v.object({
  x: v.array(v.number()),
  y: v.array(v.number()),
  loss: v.array(v.array(loss)),
  corners: v.object({ A: loss, B: loss, C: loss }),
  samples: v.number(),
});
