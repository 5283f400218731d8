import { RandloraError } from "../files/errors.ts";
import { oneLine, quote } from "../files/failure.ts";
import type { BaseModel } from "./base/base.ts";
import { c3a } from "./formulas/c3a.ts";
import { dora } from "./dora/method.ts";
import { gralora } from "./formulas/gralora.ts";
import { hybrid } from "./hybrid/method.ts";
import { hira } from "./formulas/hira.ts";
import { oft } from "./formulas/oft.ts";
import { delora } from "./formulas/delora.ts";
import { shira } from "./formulas/shira.ts";
import { kradapter } from "./formulas/kradapter.ts";
import { lora } from "./lora/method.ts";
import type { JsonObject } from "../files/lossless-json.ts";
import { isConfigOf, type MethodDefinition, type TrainedMethod } from "./method/method.ts";
import { miss } from "./formulas/miss.ts";
import { METHOD_NAMES, type MethodName } from "./method-names.ts";
import { nola } from "./nola/method.ts";
import type { AdapterPlan, PlanOptions } from "./method/plan.ts";
import { pranc } from "./pranc/method.ts";
import { randlora } from "./randlora/method.ts";
import { type Tolerate, tolerating } from "./files/tensors.ts";
import type { Adapter, WrittenSettings } from "./files/adapter.ts";
import { vera } from "./vera/method.ts";
import { PLAIN_LINEARS } from "../models/blocks/linears.ts";
import { isTrained, matrixLabel, matrixShape } from "../models/tensor-plan.ts";
import type { Placement } from "./method/training.ts";

/**
 * Trains every weight: the model's matrices are the parameters themselves, in F32. A tied embedding is one parameter,
 * to which both of its uses add their gradients.
 */
export const full: TrainedMethod = {
  name: "full",
  title: "all weights",
  training: {
    result: "model",
    async open({ matrices }) {
      const parameters = matrices.filter(isTrained).map((planned) => ({
        name: matrixLabel(planned),
        shape: matrixShape(planned),
      }));
      return {
        parameters,
        modules: parameters.map(({ name, shape: [rows, cols] }) => {
          return { name, shape: [rows, cols], parameters: rows * cols };
        }),
        notes: [],
        place: async ({ parameters: placed }: Placement) => ({
          choices: {},
          prepare() {},
          watched: () => parameters.map(({ name }) => placed.get(name)),
          linears: () => PLAIN_LINEARS,
          finish() {},
        }),
      };
    },
  },
};

/** A new method is a folder, or a file of `formulas`, a name in `method-names.ts`, and a line here. */
const DEFINITIONS = {
  randlora,
  lora,
  dora,
  vera,
  nola,
  pranc,
  kradapter,
  miss,
  gralora,
  c3a,
  hira,
  oft,
  delora,
  shira,
  hybrid,
  full,
} satisfies Record<MethodName, TrainedMethod>;

/** Every method. */
export const METHODS: readonly TrainedMethod[] = METHOD_NAMES.map((name) => DEFINITIONS[name]);

/** PEFT's methods whose files do not say what is added to W, and why. */
const NOT_IN_THE_FILE: Readonly<Record<string, string>> = {
  LILY: "its ΔW depends on the batch, so PEFT cannot merge it either",
  PSOFT: "its rotation acts between singular vectors of W, whose signs are not saved",
  WAVEFT: "the positions of its coefficients are drawn by PyTorch and not saved",
  FOURIERFT: "the frequencies of its coefficients are drawn by PyTorch and not saved",
  UNILORA: "which elements share a parameter is drawn by NumPy and, unless save_indices is set, not saved",
};

// A union of parameters, taken together, is their intersection.
type OwnSettings<M> = M extends MethodDefinition<infer Own> ? (own: Own) => void : never;

/** The settings that single methods have, of all of them together. */
export type MethodSettings =
  OwnSettings<(typeof DEFINITIONS)[MethodName]> extends (own: infer Own) => void ? Own : never;

/** Does this method make an adapter? */
export function isAdapterMethod(method: TrainedMethod): method is MethodDefinition {
  return method.training.result === "adapter";
}

/** The method of this name. @throws RangeError without one: settings were checked before */
export function methodNamed(name: string): TrainedMethod {
  const found = METHODS.find((method) => method.name === name);
  if (found === undefined) throw new RangeError(`no method ${name}`);
  return found;
}

/**
 * The method of an adapter's configuration, by its `peft_type`. `file` is named in errors.
 * Throws `RandloraError` "adapter" for one that cannot be applied, "format" where the key is missing.
 */
export function methodOf(config: JsonObject, file: string): MethodDefinition {
  const type = config["peft_type"];
  if (typeof type !== "string") {
    const hint = "an adapter_config.json as PEFT writes it is needed";
    throw new RandloraError("format", `${oneLine(file)}: "peft_type" is missing or not a string`, hint);
  }
  const adapters = METHODS.filter(isAdapterMethod);
  const method = adapters.find((one) => isConfigOf(one, type, config));
  if (method !== undefined) return method;
  const types = new Set(adapters.flatMap(({ peftTypes }) => peftTypes));
  const reason = Object.hasOwn(NOT_IN_THE_FILE, type) ? `: ${NOT_IN_THE_FILE[type]}` : "";
  const hint = `supported: ${[...types].join(", ")}`;
  throw new RandloraError("adapter", `${oneLine(file)}: peft_type ${quote(type)} cannot be applied${reason}`, hint);
}

/** The same, its settings checked; undefined where that it is of no method is tolerated. */
export function checkedMethod(
  adapter: WrittenSettings & Pick<Adapter, "config">,
  tolerate?: Tolerate,
): MethodDefinition | undefined {
  const method = tolerating(tolerate, () => methodOf(adapter.config, adapter.configFile));
  tolerating(tolerate, () => method?.check(adapter));
  return method;
}

/** The method of an open adapter. */
export function methodOfAdapter({ config, configFile }: Adapter): MethodDefinition {
  return methodOf(config, configFile);
}

/** Fits an adapter of any method to a base; see {@link MethodDefinition.plan}. */
export function planAdapter(adapter: Adapter, base: BaseModel, options: PlanOptions = {}): AdapterPlan {
  return methodOfAdapter(adapter).plan(adapter, base, options);
}
