// What `randlora analyze --json` answers, and nothing else.
import * as v from "valibot";

export const Cka = v.strictObject({
  layers: v.array(v.object({ name: v.string(), cka: v.record(v.string(), v.nullable(v.number())) })),
  samples: v.number(),
  estimator: v.string(),
  reference: v.string(),
});

const plane = {
  x: v.array(v.number()),
  y: v.array(v.number()),
  loss: v.array(v.array(v.nullable(v.number()))),
  corners: v.strictObject({ A: v.number(), B: v.number(), C: v.number() }),
  samples: v.number(),
};

export const PlaneOfTexts = v.strictObject({ ...plane, tokens: v.number() });
export const PlaneOfImages = v.strictObject(plane);
