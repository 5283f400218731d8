import type { Op, Roles } from "../op.ts";
import { OPS } from "../ops/index.ts";
import type { OpCase } from "./case.ts";
import { CASES } from "./cases.ts";

/** What is done with an op and its cases; the types of both stay together. */
export type Visit = <I extends Roles, A, O extends Roles>(op: Op<I, A, O>, cases: readonly OpCase<I, A>[]) => void;

/** Visits every op of the registry, written out because each has types of its own. */
export function visitOps(visit: Visit): void {
  visit(OPS.activation, CASES.activation);
  visit(OPS.add, CASES.add);
  visit(OPS.attention, CASES.attention);
  visit(OPS.clampedGate, CASES.clampedGate);
  visit(OPS.combineRows, CASES.combineRows);
  visit(OPS.convolution, CASES.convolution);
  visit(OPS.dropout, CASES.dropout);
  visit(OPS.embedding, CASES.embedding);
  visit(OPS.expertRows, CASES.expertRows);
  visit(OPS.gatedActivation, CASES.gatedActivation);
  visit(OPS.gatedDelta, CASES.gatedDelta);
  visit(OPS.groupBias, CASES.groupBias);
  visit(OPS.groupedLinear, CASES.groupedLinear);
  visit(OPS.layerNorm, CASES.layerNorm);
  visit(OPS.linear, CASES.linear);
  visit(OPS.mixRows, CASES.mixRows);
  visit(OPS.multiply, CASES.multiply);
  visit(OPS.nll, CASES.nll);
  visit(OPS.normedLinear, CASES.normedLinear);
  visit(OPS.regroup, CASES.regroup);
  visit(OPS.rmsNorm, CASES.rmsNorm);
  visit(OPS.rope, CASES.rope);
  visit(OPS.routerWeights, CASES.routerWeights);
  visit(OPS.rows, CASES.rows);
  visit(OPS.scaleColumns, CASES.scaleColumns);
  visit(OPS.scale, CASES.scale);
  visit(OPS.softcap, CASES.softcap);
  visit(OPS.spreadRows, CASES.spreadRows);
  visit(OPS.topK, CASES.topK);
}
