import type { Experts, Routing, SharedExpert } from "../blocks/experts.ts";
import {
  eitherOf,
  plannedLinear,
  plannedMatrix,
  type PlannedMatrix,
  plannedVector,
  storedTransposed,
} from "../tensor-plan.ts";
import { gatedMlp, type Module, type Sizes, weights } from "./parts.ts";

/** How checkpoints call the matrices of a mixture of experts: those of each expert, or tensors of all of them. */
export type ExpertNames =
  | { readonly router: string; readonly gate: string; readonly up: string; readonly down: string }
  | { readonly router: string; readonly gateUp: string; readonly down: string };

/** Modules of single experts of models whose files never have them are called so, too. */
const EXPERT_NAMES = { router: "gate.weight", gate: "gate_proj", up: "up_proj", down: "down_proj" };

/** The same as transformers 5 has them in memory, and saves them where it is told to: below the layer's path. */
const FUSED_NAMES = {
  path: "mlp",
  router: "gate.weight",
  gateUp: "experts.gate_up_proj",
  down: "experts.down_proj",
};

/** A mixture of gated MLPs of the layer `path`. */
export interface ExpertParts {
  /** The module, below the layer's path; "": the layer has what it consists of. */
  readonly path?: string;
  /** In files: tensors below the module, or each expert's modules in `experts.NUMBER` there. */
  readonly names?: ExpertNames;
  /** Module and tensors as transformers 5 has them. */
  readonly fused?: Partial<typeof FUSED_NAMES>;
  /** Files have tensors of all experts by those names, and transposed. */
  readonly transposed?: boolean;
  /** Tensor below the module; see `Experts.selection`. */
  readonly selection?: string;
  /** Neurons of the MLP that all tokens go through, `sharedPath` (`shared_expert`) below the module, and whether it has a gate (it has). */
  readonly sharedInner?: number;
  readonly sharedPath?: string;
  readonly sharedGate?: boolean;
}

/** A mixture of gated MLPs, below the layer's `path`: each expert's matrices by themselves, or tensors of all experts. */
export function experts(
  layer: string,
  sizes: Sizes,
  routing: Routing,
  { path = "mlp", names = EXPERT_NAMES, fused, transposed = false, selection, ...all }: ExpertParts = {},
): Experts<PlannedMatrix> {
  const { hidden, inner, activation } = sizes;
  const { count } = routing;
  const at = (below: string, name: string) => [layer, below, name].filter((part) => part !== "").join(".");
  const ofEach = (cols: number, modules: readonly Module[]) =>
    weights(
      cols,
      Array.from({ length: count }, (_, expert) => expert).flatMap((expert) =>
        modules.map(([name, rows]): Module => [at(path, `experts.${expert}.${name}`), rows]),
      ),
    );
  const now = { ...FUSED_NAMES, ...fused };
  const ofAll = (cols: number, below: string, name: string, rows: number) =>
    plannedLinear(cols, [at(below, name), [count, rows, cols]]);
  const router = (below: string, name: string) => plannedMatrix(hidden, [at(below, name), [count, hidden]]);
  const each = "gateUp" in names ? EXPERT_NAMES : names;
  const gateUp = ofEach(hidden, [
    [each.gate, inner],
    [each.up, inner],
  ]);
  const down = ofEach(inner, [[each.down, hidden]]);
  const [nowGateUp, nowDown] = [
    ofAll(hidden, now.path, now.gateUp, 2 * inner),
    ofAll(inner, now.path, now.down, hidden),
  ];
  const isWhole = "gateUp" in names;
  const matrices = {
    gateUp: isWhole
      ? eitherOf(ofAll(hidden, path, names.gateUp, 2 * inner), nowGateUp, gateUp)
      : eitherOf(gateUp, nowGateUp),
    down: isWhole ? eitherOf(ofAll(inner, path, names.down, hidden), nowDown, down) : eitherOf(down, nowDown),
  };
  return {
    kind: "experts",
    activation,
    ...routing,
    router: eitherOf(router(path, names.router), router(now.path, now.router)),
    ...(transposed ? transposedExperts(`${layer}.${path}`, { hidden, inner }, count) : matrices),
    selection: selection === undefined ? undefined : plannedVector([`${layer}.${path}.${selection}`, [count]]),
    shared: all.sharedInner === undefined ? undefined : sharedExpert(`${layer}.${path}`, sizes, all.sharedInner, all),
  };
}

/**
 * Tensors of all experts, (in, out) each, gates and ups in one. Modules of single experts are linear layers of the transposes: an
 * adapter is what PEFT trains where experts are `nn.Linear`, without `fan_in_fan_out`.
 */
export function transposedExperts(
  path: string,
  { hidden, inner }: Pick<Sizes, "hidden" | "inner">,
  count: number,
): Pick<Experts<PlannedMatrix>, "gateUp" | "down"> {
  const ofAll = (name: string, rows: number, cols: number) => {
    const ofEach = Array.from({ length: count }, (_, expert) => {
      return [`${path}.experts.${expert}.${name}.weight`, [rows, cols]] as const;
    });
    return eitherOf(
      storedTransposed(plannedLinear(cols, [`${path}.experts.${name}`, [count, rows, cols]])),
      storedTransposed(plannedLinear(cols, ...ofEach)),
    );
  };
  return { gateUp: ofAll("gate_up_proj", 2 * inner, hidden), down: ofAll("down_proj", hidden, inner) };
}

function sharedExpert(
  path: string,
  sizes: Sizes,
  inner: number,
  { sharedPath = "shared_expert", sharedGate = true }: ExpertParts,
): SharedExpert<PlannedMatrix> {
  const gate = () => plannedMatrix(sizes.hidden, [`${path}.${sharedPath}_gate.weight`, [1, sizes.hidden]]);
  return { gate: sharedGate ? gate() : undefined, mlp: gatedMlp(`${path}.${sharedPath}`, { ...sizes, inner }) };
}
