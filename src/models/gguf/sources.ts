// Where a GGUF file has the tensors of a checkpoint of its model.
import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { GGUF_TYPES, type GgufType } from "../../files/gguf/format.ts";
import type { GgufTensorInfo } from "../../files/gguf/header.ts";
import { GgufFields } from "../../files/gguf/metadata.ts";
import type { GgufFile } from "../../files/gguf/reader.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import type { TensorInfo, WholeTensor } from "../../files/safetensors/header.ts";
import { isBlockDtype } from "../../compute/device/dtype.ts";
import type { DecoderConfig } from "../decoder/config.ts";
import { plannedMatrices } from "../decoder/weight-plan.ts";
import { asDivided } from "../description.ts";
import { inParts } from "../tensor-plan.ts";
import type { GgufPlace, Strip } from "./place.ts";
import { isPassedOver, layersIn } from "./layers.ts";
import { ggufName } from "./metadata.ts";
import { ggufPlace, stripsOf } from "./names.ts";
import { ROPE_TENSORS } from "./rope-factors.ts";

/** A tensor of the checkpoint, and where it is in the file. */
export interface Source {
  /** Its parts one after another, all of one type. */
  readonly parts: readonly [Part, ...Part[]];
  readonly place: GgufPlace;
  readonly shape: readonly number[];
  /** The tensor of all experts that the checkpoint's files have it in. */
  readonly whole: WholeTensor | undefined;
}

/** Elements of a tensor of the file. */
interface Part {
  readonly stored: GgufTensorInfo;
  readonly first: number;
  readonly elements: number;
}

/** What a reader is told of such a tensor. */
export function presented(name: string, { parts, place, shape, whole }: Source): TensorInfo {
  const [{ stored, first }] = parts;
  const { type } = stored;
  const { bytes: size, elements: block } = GGUF_TYPES[type];
  const elements = shape.reduce((product, length) => product * length, 1);
  const [offset, bytes] = [stored.offset + (first / block) * size, (elements / block) * size];
  const isReordered = (place.transposed === true && shape.length > 1) || place.order !== undefined;
  const placed = { name, shape, elements, offset, ...(whole && { whole }), ...(isReordered && { isReordered }) };
  if (!isBlockDtype(type)) return { ...placed, dtype: type, bytes };
  const read = { ...placed, dtype: "F32", bytes: elements * dtypeBytes("F32") } as const;
  // Parts of rows change places in whole blocks only.
  const part = place.order?.of === "parts" ? (shape.at(-1) ?? 0) / place.order.places.length : block;
  return part % block === 0 ? { ...read, blocks: { dtype: type, bytes } } : read;
}

/**
 * Gate or up of one expert in the tensor of these that a file may have instead of one of both: llama.cpp reads Gemma 4's from
 * either. Undefined: it is no part of such a tensor.
 */
function gateOrUp({ name, shape: [count = 0, both = 0, hidden = 0], first, rows }: Strip): Strip | undefined {
  if (!name.includes(GATE_UP)) return undefined;
  const expert = Math.floor(first / both);
  const isUp = first % both > 0;
  const apart = name.replace(GATE_UP, isUp ? ".ffn_up_exps." : ".ffn_gate_exps.");
  return { name: apart, shape: [count, both / 2, hidden], first: (expert * both) / 2, rows };
}

const GATE_UP = ".ffn_gate_up_exps.";

/**
 * By the names of the checkpoint.
 * @throws RandloraError `model` naming a tensor that is missing, left over or of another shape than the config's
 */
export function findSources({ path, header }: GgufFile, config: DecoderConfig): Map<string, Source> {
  const refuse = (cause: string, hint: string): never => {
    throw new RandloraError("model", `${oneLine(path)}: ${cause}`, hint);
  };
  const sources = new Map<string, Source>();
  const known = new Set<string>(ROPE_TENSORS);
  const partOf = (strip: Strip, { numbers }: GgufPlace): Part => {
    const found = [strip, gateOrUp(strip)].find((one) => one !== undefined && header.tensors.has(one.name));
    const { name, shape, first, rows } = found ?? strip;
    const stored = header.tensors.get(name);
    if (stored === undefined) {
      return refuse(`tensor ${quote(name)} is missing`, "the file is incomplete, or the architecture is a newer one");
    }
    if (stored.shape.length !== shape.length || stored.shape.some((size, axis) => size !== shape[axis])) {
      const shapes = `has shape [${stored.shape.join(", ")}], by the metadata it is [${shape.join(", ")}]`;
      return refuse(`tensor ${quote(name)} ${shapes}`, "the file is damaged, or the architecture is a newer one");
    }
    if (numbers !== undefined && stored.type !== "F32") {
      return refuse(
        `tensor ${quote(name)} is ${stored.type}`,
        "vectors are F32 in files of llama.cpp: convert it anew",
      );
    }
    known.add(name);
    const cols = shape.length > 1 ? (shape.at(-1) ?? 1) : 1;
    return { stored, first: first * cols, elements: rows * cols };
  };
  const divided = asDivided(config);
  const types = new Map<string, GgufType>();
  for (const planned of plannedMatrices(config)) {
    const { parts: tensors } = inParts(planned);
    const [own] = planned.parts;
    const whole = own && tensors.length > planned.parts.length ? { name: own.name, shape: own.stored } : undefined;
    for (const { name, stored: shape } of tensors) {
      const place = ggufPlace(name, divided);
      if (place === undefined) throw new TypeError(`${name}: planned, and left out`);
      const [part, ...parts] = stripsOf(place, shape).map((strip) => partOf(strip, place));
      if (part === undefined) throw new TypeError(`${name}: nowhere`);
      const label = whole?.name ?? name;
      const type = types.get(label) ?? part.stored.type;
      types.set(label, type);
      const other = [part, ...parts].find(({ stored }) => stored.type !== type);
      if (other !== undefined) {
        const both = `${type} and ${quote(other.stored.name)} ${other.stored.type}`;
        return refuse(`parts of ${quote(label)} are ${both}`, "convert it anew, with one type for both");
      }
      sources.set(name, { parts: [part, ...parts], place, shape, whole });
    }
  }
  const { all } = layersIn(new GgufFields(header.metadata, path), ggufName(config.architecture));
  const left = [...header.tensors.keys()].find((name) => !known.has(name) && !isPassedOver(name, config, all));
  if (left !== undefined) {
    return refuse(`tensor ${quote(left)} has no place in a ${config.architecture} model`, "give the model's folder");
  }
  return sources;
}
