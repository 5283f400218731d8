import { basename } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote, shellWord } from "../../files/failure.ts";
import type { GgufTensor, GgufValue } from "../../files/gguf/format.ts";
import { GgufWriter } from "../../files/gguf/writer.ts";
import { Publication } from "../../files/publish.ts";
import { isFloat } from "../../files/safetensors/dtype.ts";
import { roundFromF32, widenToF32 } from "../../files/safetensors/numbers.ts";
import { isKernelDtype, type KernelDtype } from "../../compute/device/dtype.ts";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import { plannedMatrices, storedDecoder } from "../../models/decoder/weight-plan.ts";
import { generalMetadata } from "../../models/gguf/metadata.ts";
import { type GgufPlace, type Order, reorder, type Strip } from "../../models/gguf/place.ts";
import { ggufModule, turnedShape } from "../../models/gguf/names.ts";
import type { Adapter, AdapterTensor } from "../files/adapter.ts";
import { isOfExpert } from "../base/base.ts";
import { openNamedBase } from "../base/named-base.ts";
import { adaptsExperts, loraConfig } from "../lora/config.ts";
import { type LoraLayer, loraLayersAlone } from "../lora/plan.ts";
import { countOverflows, overflow } from "../merge/stored-weight.ts";
import type { Outtype } from "../merge/to-files/options.ts";
import { methodOfAdapter } from "../methods.ts";

/** What to write, and where. */
export interface GgufAdapterOptions {
  readonly out: string;
  /** The base's folder, whose config.json says how heads lie; undefined: the one that the adapter names. */
  readonly base: string | undefined;
  readonly outtype: Outtype;
  readonly force: boolean;
}

/** One factor of a module: what is written of it. */
interface Factor {
  readonly tensor: GgufTensor & { readonly type: KernelDtype };
  readonly from: AdapterTensor;
  readonly order: Order | undefined;
  /** Where its rows go, one after another: those of other tensors are passed over. */
  readonly strips: readonly Strip[];
  readonly times: number;
}

/**
 * Writes a LoRA as llama.cpp's adapter file (`llama-cli --lora`), which has one α for all modules: factors B of modules
 * with another scale are multiplied.
 * @returns the absolute path of the output and its number of tensors
 * @throws RandloraError `adapter` for another method, and for what such a file has no place for
 */
export async function writeGgufAdapter(
  adapter: Adapter,
  { out, base, outtype, force }: GgufAdapterOptions,
): Promise<{ readonly out: string; readonly tensors: number }> {
  const folder = base ?? (await namedBase(adapter));
  const described = folder === undefined ? undefined : await loadConfig(folder);
  // A model that GGUF has not is refused as such, whatever its adapter is: no merge into such a file is offered.
  const general =
    described && generalMetadata(described.architecture, "adapter", basename(out).replace(/\.gguf$/i, ""));
  const layers = loraLayers(adapter, out);
  if (described === undefined || general === undefined) throw withoutBase(adapter);
  const modules = new Map(layers.map((layer) => [`${layer.module}.weight`, layer]));
  const config = storedDecoder(described, modules);
  const [first] = layers;
  // llama.cpp takes an alpha of 0 for none, a scale of 1: then the factors have the scale, 0 itself.
  const alpha = (first?.scale || 1) * (first?.rank ?? 1);
  const weights = new Map(
    plannedMatrices(config).flatMap(({ parts }) => parts.map(({ name, stored }) => [name, stored])),
  );
  const factors = layers.flatMap((layer) => {
    const place = ggufModule(layer.module, config);
    const stored = weights.get(`${layer.module}.weight`);
    const shape = place && stored && turnedShape(place, stored);
    return factorsOf(adapter, layer, { place, shape, outtype, alpha, out });
  });
  const metadata = new Map<string, GgufValue>([
    ...general,
    ["adapter.type", { kind: "string", value: "lora" }],
    ["adapter.lora.alpha", { kind: "f32", value: alpha }],
  ]);
  const inputs = [...new Set([adapter.file, adapter.configFile])];
  await using publication = await Publication.begin(out, { kind: "file", force, inputs });
  const tensors = factors.map(({ tensor }) => tensor);
  await using writer = await GgufWriter.create(publication.partPath, metadata, tensors);
  for (const factor of factors) await writer.append(factor.tensor.name, await read(factor));
  await writer.finish();
  await publication.commit();
  return { out: publication.target, tensors: factors.length };
}

/** The folder of the base that it names; undefined: it is not on this machine. */
async function namedBase(adapter: Adapter): Promise<string | undefined> {
  const { base_model_name_or_path: name } = adapter.settings;
  const opened = await openNamedBase(adapter.path, typeof name === "string" ? name : undefined);
  await opened?.[Symbol.asyncDispose]();
  return opened?.checkpoint.folder;
}

function withoutBase({ configFile }: Adapter): RandloraError {
  const cause = `${oneLine(configFile)}: the base model that it names is not on this machine`;
  return new RandloraError("adapter", cause, "give it with --base MODEL: its config.json says how heads lie");
}

/** @param out the file that is to be written, which hints name */
function loraLayers(adapter: Adapter, out: string): readonly LoraLayer[] {
  const refuse = (cause: string, ...others: readonly string[]) => {
    const hint = [`merge it: ${mergeCommand(adapter, out)}`, ...others].join("; ");
    return new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
  };
  const method = methodOfAdapter(adapter);
  const isDora = method.name === "lora" && loraConfig(adapter).dora;
  if (method.name !== "lora" || isDora) {
    const [path, file] = [shellWord(adapter.path), shellWord(out)];
    const lora = shellWord(`${out.replace(/\.gguf$/i, "")}-lora`);
    const two = `randlora convert ${path} --to lora --rank 16 --out ${lora}, then randlora convert ${lora} --to gguf --out ${file}`;
    // Factors of single experts have no place in such a file, whatever they were made of.
    const ofExperts = [...adapter.tensors.keys()].some(isOfExpert);
    throw refuse(
      `GGUF has adapters of LoRA alone, not of ${isDora ? "DoRA" : method.name}`,
      ...(ofExperts ? [] : [`or make the nearest LoRA: ${two}`]),
    );
  }
  if (adaptsExperts(loraConfig(adapter))) {
    throw refuse("its target_parameters have no place in a GGUF adapter, but for those of routers");
  }
  const layers = loraLayersAlone(adapter);
  // Of an adapted output embedding PEFT stores the base's own weight.
  const known = new Set(
    layers.flatMap(({ module, tensors }) => [tensors.a.name, tensors.b.name, `${module}.base_layer.weight`]),
  );
  const other = [...adapter.tensors.keys()].find((name) => !known.has(name));
  if (other !== undefined) throw refuse(`tensor ${quote(other)} is no factor of a LoRA`);
  return layers;
}

function mergeCommand({ path, settings: { base_model_name_or_path: base } }: Adapter, out: string): string {
  const model = typeof base === "string" ? shellWord(base) : "BASE";
  return `randlora merge ${model} ${shellWord(path)} --out ${shellWord(out)}`;
}

/** What is to be written of a module. */
interface Wanted {
  readonly place: GgufPlace | undefined;
  /** Of its weight in the base: (out, in). */
  readonly shape: readonly number[] | undefined;
  readonly outtype: Outtype;
  /** Of the whole adapter. */
  readonly alpha: number;
  /** The file that is to be written. */
  readonly out: string;
}

function factorsOf(
  adapter: Adapter,
  { module, tensors, rank, scale }: LoraLayer,
  { place, shape, outtype, alpha, out }: Wanted,
): Factor[] {
  const [height = 0, width = 0] = shape ?? [];
  const targets = place && shape && targetsOf(place, height);
  if (place === undefined || targets === undefined) {
    const cause = `${oneLine(adapter.file)}: module ${quote(module)} has no place in a GGUF adapter`;
    throw new RandloraError("adapter", cause, `merge it: ${mergeCommand(adapter, out)}`);
  }
  const [rows, cols] = [tensors.b.shape[0], tensors.a.shape[1]];
  if (rows !== height || cols !== width) {
    const cause = `module ${quote(module)} has factors of a (${rows}, ${cols}) weight, and the base's is (${height}, ${width})`;
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "give its own base with --base MODEL");
  }
  const factor = (kind: "a" | "b", name: string, rows: number, times: number): Factor => {
    const from = tensors[kind];
    const shape = [rows, from.shape[1] ?? 1];
    const tensor = { name: `${name}.lora_${kind}`, shape, type: typeOf(from, outtype, times) };
    const order = place.order?.of === (kind === "a" ? "parts" : "rows") ? place.order : undefined;
    const strips = (kind === "b" ? place.strips : undefined) ?? [{ name, shape, first: 0, rows }];
    return { tensor, from, order, strips, times };
  };
  return targets.flatMap(({ name, rows }) => [
    factor("a", name, rank, 1),
    factor("b", name, rows, (scale * rank) / alpha),
  ]);
}

/** Tensors that llama.cpp reads or multiplies with without asking for an adapter of them. */
const WITHOUT = ["token_embd", "per_layer_token_embd", "per_layer_model_proj"];

/** The tensors of a file that a module's weight becomes, each with its rows; undefined: an adapter has no place for them. */
function targetsOf({ name, strips }: GgufPlace, rows: number): { name: string; rows: number }[] | undefined {
  if (WITHOUT.includes(name)) return undefined;
  if (strips === undefined) return [{ name: `${name}.weight`, rows }];
  const shapes = new Map(strips.map((strip) => [strip.name, strip.shape]));
  // Tensors of all experts have adapters of all alone.
  if ([...shapes.values()].some(({ length }) => length !== 2)) return undefined;
  return [...shapes].map(([tensor, [count = 0]]) => ({ name: tensor, rows: count }));
}

function typeOf({ dtype }: AdapterTensor, outtype: Outtype, times: number): KernelDtype {
  if (outtype === "f16") return "F16";
  if (outtype === "bf16") return "BF16";
  return outtype === "keep" && isKernelDtype(dtype) && times === 1 ? dtype : "F32";
}

async function read({ tensor, from, order, strips, times }: Factor): Promise<Uint8Array> {
  const stored = await from.readAll();
  const rowBytes = stored.length / (from.shape[0] ?? 1);
  const bytes = placedRows(order === undefined ? stored : reorder(stored, order, rowBytes), rowBytes, tensor, strips);
  if (from.dtype === tensor.type && times === 1) return bytes;
  if (!isFloat(from.dtype)) throw new TypeError(`${from.name} is ${from.dtype}`);
  const values = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1));
  widenToF32(bytes, from.dtype, values);
  if (times !== 1) for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) * times;
  const tooLarge = countOverflows(values, tensor.type);
  if (tooLarge > 0) throw overflow({ label: from.name }, tooLarge, tensor.type);
  const out = new Uint8Array(values.length * (tensor.type === "F32" ? 4 : 2));
  roundFromF32(values, tensor.type, out);
  return out;
}

/** The rows that go to the tensor of a base's file that this one is a factor of. */
function placedRows(
  bytes: Uint8Array,
  rowBytes: number,
  { name, shape: [rows = 0] }: GgufTensor,
  strips: readonly Strip[],
): Uint8Array {
  const out = new Uint8Array(rows * rowBytes);
  let begin = 0;
  for (const strip of strips) {
    const end = begin + strip.rows * rowBytes;
    if (name.startsWith(`${strip.name}.`)) out.set(bytes.subarray(begin, end), strip.first * rowBytes);
    begin = end;
  }
  return out;
}
