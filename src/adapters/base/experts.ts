import type { Dtype } from "../../files/safetensors/dtype.ts";
import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import { itemAt } from "../../files/item-at.ts";
import { areExpertsTransposed, type BaseModel } from "./base.ts";
import { textPartOf, unshiftPath } from "./module-paths.ts";

/**
 * The matrices of all experts of a layer that transformers 5 has as one parameter, and PEFT adapts as one
 * (`target_parameters`), however the checkpoint stores them: (experts, out, in), or transposed. Where it has tensors of all experts, a
 * target of LoRA that is the name of both (`down_proj`) means the parameter.
 *
 * PEFT makes factors of twice the rank of an adapter of gate and up of each expert (`w1,w3`): the same ΔW, but other training. PEFT
 * 0.21.2 leaves out, without a word, modules of single experts of LFM2-MoE, and of dense layers that have the names of experts': for it,
 * name the parameters.
 */
export interface ExpertParameter {
  /** transformers' path of the module that has it: `model.layers.0.mlp.experts`. */
  readonly module: string;
  readonly name: "gate_up_proj" | "down_proj";
  readonly experts: number;
  /** Of an expert's matrix; gate above up, or interleaved, as gpt-oss has them. */
  readonly out: number;
  readonly in: number;
  readonly dtype: Dtype;
  /** The tensors are (experts, in, out): of experts with biases (gpt-oss), and of Qwen3-VL MoE. */
  readonly transposed: boolean;
  /** The checkpoint's tensors that have its rows, in their order and of as many rows each: one of all experts, or one or two of each. */
  readonly tensors: readonly string[];
}

const OF_EACH =
  /^(.+)\.(mlp|block_sparse_moe|feed_forward|\d{1,5})\.experts\.(\d{1,5})\.(gate_proj|w1|up_proj|w3|down_proj|w2|gate_up_proj)\.weight$/;
const OF_ALL =
  /^(.+\.(?:mlp|block_sparse_moe|feed_forward|\d{1,5}))\.(?:experts\.(gate_up_proj|down_proj)|(input_linear|output_linear)\.weight)$/;

const INNER = ".base_layer";

/** Where an expert's matrix stands among those of a parameter. */
const PLACES = { gate_proj: 0, w1: 0, up_proj: 1, w3: 1, down_proj: 2, w2: 2, gate_up_proj: 3 } as const;

/** The parameters of a model's mixtures of experts; of one whose experts are not all alike none. */
export function expertParameters(base: BaseModel): ExpertParameter[] {
  const { tensors } = base;
  const text = textPartOf(base);
  const moduleOf = (stored: string) => (text === undefined ? stored : unshiftPath(stored, text.shift));
  const found: ExpertParameter[] = [];
  const add = (own: Omit<ExpertParameter, "transposed" | "out" | "in">, sides: readonly number[], ofExpert = 1) => {
    const [, path = ""] = /^(.+\.experts)\./.exec(own.tensors[0] ?? "") ?? [];
    const transposed = areExpertsTransposed(path, own.name, base);
    const [out = 0, input = 0] = transposed ? sides.toReversed() : sides;
    found.push({ ...own, transposed, out: ofExpert * out, in: input });
  };
  const apart = new Map<string, string[][]>();
  for (const [name, { shape, dtype }] of tensors) {
    const [, path, fused, linear] = OF_ALL.exec(name) ?? [];
    if (path !== undefined && shape.length === 3) {
      const isDown = fused === "down_proj" || linear === "output_linear";
      const [experts = 0, ...sides] = shape;
      const parameter = isDown ? "down_proj" : "gate_up_proj";
      add({ module: moduleOf(`${path}.experts`), name: parameter, experts, dtype, tensors: [name] }, sides);
    }
    const [, layer, mixture, expert, matrix] = OF_EACH.exec(name) ?? [];
    if (layer === undefined || !isPlace(matrix)) continue;
    // Mixtral's files call it otherwise than transformers 5 does.
    const own = mixture === "block_sparse_moe" && matrix.startsWith("w") ? "mlp" : mixture;
    const module = moduleOf(`${layer}.${own}.experts`);
    const experts = apart.get(module) ?? [];
    apart.set(module, experts);
    (experts[Number(expert)] ??= [])[PLACES[matrix]] = name;
  }
  for (const [module, experts] of apart) {
    // A damaged file may have the last of very many alone.
    if (Object.keys(experts).length < experts.length) continue;
    const one = (name: ExpertParameter["name"], places: readonly number[]) => {
      const names = Array.from(experts, (own) => places.map((place) => own?.[place] ?? "")).flat();
      const infos = names.map((tensor) => tensors.get(tensor));
      const [first] = infos;
      if (first === undefined || infos.some((info) => String(info?.shape) !== String(first.shape))) return;
      const { dtype, shape } = first;
      add({ module, name, experts: experts.length, dtype, tensors: names }, shape, places.length);
    };
    one("gate_up_proj", [0, 1]);
    one("gate_up_proj", [3]);
    one("down_proj", [2]);
  }
  // PEFT wraps them in the order in which the module has them.
  return found.toSorted((a, b) => Number(a.name === "down_proj") - Number(b.name === "down_proj"));
}

/** Layers of single experts' matrices: the same one of every expert of a layer, in their order. */
export interface ExpertGroup<L> {
  /** The modules' path without the expert. */
  readonly name: string;
  readonly experts: number;
  readonly layers: readonly L[];
  /** Of theirs in an expert's product. */
  readonly firstColumn: number;
}

/**
 * Parts layers into those of single experts and others.
 * @throws RandloraError `usage` where some experts of a matrix are adapted and others are not
 */
export function groupExperts<L extends { readonly tensor: string; readonly module: string; readonly out: number }>(
  layers: readonly L[],
  base: BaseModel,
): { readonly groups: readonly ExpertGroup<L>[]; readonly others: readonly L[] } {
  const places = new Map<string, { readonly parameter: ExpertParameter; readonly at: number }>();
  for (const parameter of expertParameters(base)) {
    if (parameter.tensors.length > 1) parameter.tensors.forEach((tensor, at) => places.set(tensor, { parameter, at }));
  }
  const apart = Map.groupBy(
    layers.filter(({ tensor }) => places.has(tensor)),
    ({ module }) => module.replace(/\.experts\.\d+\./, ".experts."),
  );
  const groups = [...apart].map(([name, own]): ExpertGroup<L> => {
    const place = ({ tensor }: L) => places.get(tensor)?.at ?? NaN;
    const sorted = own.toSorted((one, other) => place(one) - place(other));
    const first = itemAt(sorted, 0);
    const { experts = NaN, tensors = [] } = places.get(first.tensor)?.parameter ?? {};
    if (own.length !== experts) {
      const cause = `${own.length} of ${experts} experts are adapted in ${quote(name)}`;
      const hint = "adapt all of them: name their modules without numbers, as in --targets w1,w3";
      throw new RandloraError("usage", cause, hint);
    }
    if (tensors.length > experts && first.out % 4 !== 0) {
      const cause = `${quote(name)} has ${first.out} rows: of experts' gates and ups multiples of 4 can be adapted`;
      throw new RandloraError("usage", cause, "merge the adapter, and use the merged model");
    }
    return { name, experts, layers: sorted, firstColumn: (place(first) % (tensors.length / experts)) * first.out };
  });
  return { groups, others: layers.filter(({ tensor }) => !places.has(tensor)) };
}

/** Is this the path of such a parameter? */
export function isExpertParameter(path: string): boolean {
  return /\.experts\.(?:gate_up_proj|down_proj)$/.test(path);
}

/** Where `.experts` begins in a path of those that a layer has beside an MLP (Gemma 4); undefined: there is none. */
export function besideMlp(path: string): number | undefined {
  const found = /\.\d{1,5}(?=\.experts\.)/.exec(path);
  return found === null ? undefined : found.index + found[0].length;
}

function isPlace(matrix: string | undefined): matrix is keyof typeof PLACES {
  return matrix !== undefined && Object.hasOwn(PLACES, matrix);
}

/** What PEFT's tensors of these parameters' factors are called, before `.lora_A.weight`: it wraps the first of two that a module has within the second. */
export function factorPrefixes(parameters: readonly ExpertParameter[]): string[] {
  return parameters.map(({ module }, at) => {
    return module + INNER.repeat(parameters.slice(at + 1).filter((other) => other.module === module).length);
  });
}

/** Do PEFT's `target_parameters` mean the parameter at this path? (tuners_utils.py, _inject_parameters) */
export function isTargetParameter(path: string, targets: readonly string[]): boolean {
  return targets.some((target) => path === target || path.endsWith(`.${target}`));
}
