import type { Mlp } from "../../blocks/mlp.ts";
import type { PlannedMatrix } from "../../tensor-plan.ts";
import { biases, type Module, output, type Sizes, weights } from "./modules.ts";

/** What a gated MLP may have beside its three matrices. */
export interface GatedMlpParts {
  /** Of gate and up: the module of each, or of both together. */
  readonly names?: readonly [gate: string, up: string] | readonly [gateUp: string];
  readonly outputName?: string;
  readonly bias?: boolean;
}

/** An MLP f(gate x) · up x, whose modules are below `path`. */
export function gatedMlp(path: string, sizes: Sizes, parts: GatedMlpParts = {}): Mlp<PlannedMatrix> {
  const { hidden, inner, activation } = sizes;
  const { names = ["gate_proj", "up_proj"], outputName = "down_proj", bias = false } = parts;
  const [first, up] = names.map((name): Module => [`${path}.${name}`, names.length === 1 ? 2 * inner : inner]);
  if (first === undefined) throw new TypeError("an MLP without a gate");
  // Columns of a joined product could not be looked at apart.
  const isApart = up !== undefined && inner % 4 !== 0;
  const joined = up === undefined || isApart ? [first] : [first, up];
  return {
    kind: "mlp",
    activation,
    gateUp: weights(hidden, joined),
    gateUpBias: bias ? biases(joined) : undefined,
    up: isApart ? weights(hidden, [up]) : undefined,
    upBias: isApart && bias ? biases([up]) : undefined,
    output: output([`${path}.${outputName}`, hidden], inner, bias),
  };
}

/** An MLP down f(up x), whose modules are below `path`. */
export function plainMlp(
  path: string,
  { hidden, inner, activation }: Sizes,
  [up, down]: readonly [up: string, down: string],
  bias: boolean,
): Mlp<PlannedMatrix> {
  const modules: readonly Module[] = [[`${path}.${up}`, inner]];
  return {
    kind: "mlp",
    activation,
    gateUp: undefined,
    gateUpBias: undefined,
    up: weights(hidden, modules),
    upBias: bias ? biases(modules) : undefined,
    output: output([`${path}.${down}`, hidden], inner, bias),
  };
}
