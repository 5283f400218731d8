import { basename } from "node:path";
import { RandloraError } from "../files/errors.ts";
import { oneLine, quote } from "../files/failure.ts";
import type { GgufTensor, GgufValue } from "../files/gguf/format.ts";
import { GgufWriter } from "../files/gguf/writer.ts";
import { Publication } from "../files/publish.ts";
import { isFloat } from "../files/safetensors/dtype.ts";
import { roundFromF32, widenToF32 } from "../files/safetensors/numbers.ts";
import { isKernelDtype, type KernelDtype } from "../compute/device/dtype.ts";
import { loadConfig } from "../models/decoder/architectures/index.ts";
import type { DecoderConfig } from "../models/decoder/config.ts";
import { generalMetadata } from "../models/gguf/metadata.ts";
import { ggufModule } from "../models/gguf/names.ts";
import { permuteRows } from "../models/gguf/rows.ts";
import type { Adapter, AdapterTensor } from "./adapter.ts";
import { openNamedBase } from "./base/named-base.ts";
import { loraConfig } from "./lora/config.ts";
import { type LoraLayer, loraLayersAlone } from "./lora/plan.ts";
import { countOverflows, overflow } from "./merge/finite.ts";
import type { Outtype } from "./merge/outtypes.ts";
import { methodOfAdapter } from "./methods.ts";

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
  /** Rows that change places together; 0: none do. */
  readonly headSize: number;
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
  const layers = loraLayers(adapter);
  const config = await loadConfig(base ?? (await namedBase(adapter)));
  const [first] = layers;
  const alpha = (first?.scale ?? 1) * (first?.rank ?? 1);
  const factors = layers.flatMap((layer) => factorsOf(adapter, layer, config, outtype, alpha));
  const name = basename(out).replace(/\.gguf$/i, "");
  const metadata = new Map<string, GgufValue>([
    ...generalMetadata(config.architecture, "adapter", name),
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

async function namedBase(adapter: Adapter): Promise<string> {
  const { base_model_name_or_path: name } = adapter.settings;
  const opened = await openNamedBase(adapter.path, typeof name === "string" ? name : undefined);
  await opened?.[Symbol.asyncDispose]();
  if (opened !== undefined) return opened.checkpoint.folder;
  const cause = `${oneLine(adapter.configFile)}: the base model that it names is not on this machine`;
  throw new RandloraError("adapter", cause, "give it with --base MODEL: its config.json says how heads lie");
}

function loraLayers(adapter: Adapter): readonly LoraLayer[] {
  const refuse = (cause: string) => {
    const hint = "merge it: randlora merge BASE ADAPTER --out FILE.gguf";
    return new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, hint);
  };
  const method = methodOfAdapter(adapter);
  if (method.name !== "lora") throw refuse(`GGUF has adapters of LoRA alone, not of ${method.name}`);
  const { dora, targets } = loraConfig(adapter);
  if (dora) throw refuse("GGUF has adapters of LoRA alone, not of DoRA");
  if ((targets.parameters ?? []).length > 0) throw refuse("its target_parameters have no place in a GGUF adapter");
  const layers = loraLayersAlone(adapter);
  const known = new Set(layers.flatMap(({ tensors }) => [tensors.a.name, tensors.b.name]));
  const other = [...adapter.tensors.keys()].find((name) => !known.has(name));
  if (other !== undefined) throw refuse(`tensor ${quote(other)} is no factor of a LoRA`);
  return layers;
}

function factorsOf(
  adapter: Adapter,
  { module, tensors, rank, scale }: LoraLayer,
  config: DecoderConfig,
  outtype: Outtype,
  alpha: number,
): Factor[] {
  const place = ggufModule(module, config);
  if (place === undefined || place.name === "token_embd") {
    const cause = `${oneLine(adapter.file)}: module ${quote(module)} has no place in a GGUF adapter`;
    throw new RandloraError("adapter", cause, "merge it: randlora merge BASE ADAPTER --out FILE.gguf");
  }
  const { name, headSize } = place;
  const factor = (kind: "a" | "b", times: number, head: number): Factor => {
    const from = tensors[kind];
    const tensor = { name: `${name}.weight.lora_${kind}`, shape: from.shape, type: typeOf(from, outtype, times) };
    return { tensor, from, headSize: head, times };
  };
  return [factor("a", 1, 0), factor("b", (scale * rank) / alpha, headSize)];
}

function typeOf({ dtype }: AdapterTensor, outtype: Outtype, times: number): KernelDtype {
  if (outtype === "f16") return "F16";
  if (outtype === "bf16") return "BF16";
  return outtype === "keep" && isKernelDtype(dtype) && times === 1 ? dtype : "F32";
}

async function read({ tensor, from, headSize, times }: Factor): Promise<Uint8Array> {
  const stored = await from.readAll();
  const rows = from.shape[0] ?? 1;
  const bytes = headSize > 0 ? permuteRows(stored, headSize, stored.length / rows) : stored;
  if (from.dtype === tensor.type && times === 1) return bytes;
  if (!isFloat(from.dtype)) throw new TypeError(`${from.name} is ${from.dtype}`);
  const values = new Float32Array(rows * (from.shape[1] ?? 1));
  widenToF32(bytes, from.dtype, values);
  if (times !== 1) for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) * times;
  const tooLarge = countOverflows(values, tensor.type);
  if (tooLarge > 0) throw overflow({ label: from.name }, tooLarge, tensor.type);
  const out = new Uint8Array(values.length * (tensor.type === "F32" ? 4 : 2));
  roundFromF32(values, tensor.type, out);
  return out;
}
