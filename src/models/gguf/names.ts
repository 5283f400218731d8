import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import { architectureOf } from "../decoder/architectures/index.ts";
import { type DecoderConfig, isOfOtherPart } from "../decoder/config.ts";
import { isComputed, UNTIED_HEAD } from "../decoder/weight-plan.ts";
import { turned } from "../tensor-plan.ts";
import { blockNamed } from "./block-names.ts";
import { type GgufPlace, type Named, named, normNamed, type Strip } from "./place.ts";

const WEIGHT = ".weight";

const known = new WeakMap<DecoderConfig, ReadonlyMap<string, GgufPlace>>();

/** The place of the module `name` of a checkpoint (`model.layers.0.self_attn.q_proj`); undefined: it has none. */
export function ggufModule(name: string, config: DecoderConfig): GgufPlace | undefined {
  const modules = known.get(config) ?? new Map(modulesOf(config));
  known.set(config, modules);
  return modules.get(name);
}

/**
 * Where the tensor `name` of a checkpoint goes in a GGUF file; undefined where it is left out, because llama.cpp does not
 * read it: the copy of a tied embedding, tables that are computed, other parts of a model.
 * @throws RandloraError `model` naming a tensor that llama.cpp has no place for
 */
export function ggufPlace(name: string, config: DecoderConfig): GgufPlace | undefined {
  if (isComputed(name) || (name === UNTIED_HEAD && config.head === undefined)) return undefined;
  if (isOfOtherPart(config, name)) return undefined;
  const dot = name.lastIndexOf(".");
  const [module, kind] = [name.slice(0, dot), name.slice(dot + 1)];
  // Tensors of all experts are no module's, nor are those that a module has beside its weight.
  const own = ggufModule(name, config);
  if (own !== undefined) return { ...own, name: `${own.name}${own.suffix ?? WEIGHT}` };
  const found = kind === "weight" || kind === "bias" ? ggufModule(module, config) : undefined;
  if (found === undefined || (kind === "bias" && found.strips !== undefined)) {
    const hint = "GGUF holds a language model's own tensors: leave out heads of other tasks and quantized weights";
    throw new RandloraError("model", `tensor ${quote(name)} has no place in GGUF's ${config.architecture}`, hint);
  }
  return { ...found, name: `${found.name}.${kind}` };
}

/** Where the rows of a tensor of this shape are in a file, one strip after another. */
export function stripsOf(place: GgufPlace, stored: readonly number[]): readonly Strip[] {
  const { name, strips } = place;
  if (strips !== undefined) return strips;
  const shape = turnedShape(place, stored);
  const rows = shape.length > 1 ? shape.slice(0, -1).reduce((product, size) => product * size, 1) : (shape[0] ?? 1);
  // Without the axis of one channel that weights of convolutions have.
  const whole = shape.length === 3 && shape[1] === 1 ? [shape[0] ?? 1, shape[2] ?? 1] : shape;
  return [{ name, shape: whole, first: 0, rows }];
}

/** The shape that the file has, of a tensor of this one in the checkpoint. */
export function turnedShape({ transposed = false }: GgufPlace, shape: readonly number[]): readonly number[] {
  return transposed && shape.length > 1 ? turned(shape) : shape;
}

/** What llama.cpp calls the modules of a model, by what they do in it (gguf-py, tensor_mapping.py). */
function modulesOf(config: DecoderConfig): Named[] {
  const { architecture, embedding, positions, layerTable, layerInputs, norm, layers, head } = config;
  const { gguf } = architectureOf(architecture) ?? {};
  const { pairs = false, apart = false, mlpNorm = "ffn_norm", lastNorm = "output_norm" } = gguf ?? {};
  return [
    ...named(embedding, ["token_embd"]),
    ...named(positions, ["position_embd"], { exact: true }),
    ...named(layerTable, ["per_layer_token_embd"]),
    ...named(layerInputs?.projection, ["per_layer_model_proj"]),
    ...normNamed(layerInputs?.norm, "per_layer_proj_norm"),
    ...normNamed(norm, lastNorm),
    ["lm_head", { name: "output" }],
    ...named(head, ["output"]),
    ...layers.flatMap((layer, index) =>
      layer.flatMap((block) =>
        blockNamed(block, { pairs, apart, mlpNorm }).map(([module, place]): Named => {
          const begin = `blk.${index}.`;
          const end = place.suffix ?? WEIGHT;
          const strips = place.strips?.map((strip) => ({ ...strip, name: `${begin}${strip.name}${end}` }));
          return [module, { ...place, name: `${begin}${place.name}`, ...(strips && { strips }) }];
        }),
      ),
    ),
  ];
}
