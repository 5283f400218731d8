import { existsSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { brief, oneLine, quote } from "../../files/failure.ts";
import { isJsonObject } from "../../files/json.ts";
import { MAX_SETTINGS_BYTES, readJson } from "../../files/read-whole.ts";
import type { Filter } from "./resize.ts";

/** What a model wants done to its images: the processors of CLIP and DINOv2 in transformers, `backend="pil"`. */
export interface Preprocessing {
  /** To this size, whatever the proportions, or until the shorter side is so long; undefined: not resized. */
  readonly resize: { readonly width: number; readonly height: number } | { readonly shortest: number } | undefined;
  readonly filter: Filter;
  /** The middle of what was resized; what is missing there is black. */
  readonly crop: { readonly width: number; readonly height: number } | undefined;
  /** What bytes are multiplied by; undefined: they stay as they are. */
  readonly rescale: number | undefined;
  /** For red, green and blue, after rescaling; undefined: not normalized. */
  readonly normalize: { readonly mean: Triple; readonly std: Triple } | undefined;
  /** Of every image that was prepared. */
  readonly width: number;
  readonly height: number;
}

export type Triple = readonly [number, number, number];

/** CLIPImageProcessor and BitImageProcessor (DINOv2's): the same steps with the same defaults. */
const PROCESSORS = /^(?:CLIP|Bit)(?:ImageProcessor(?:Fast|Pil)?|FeatureExtractor)$/;
const FILTERS: Readonly<Record<number, Filter>> = { 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box" };
const CLIP_MEAN: Triple = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD: Triple = [0.26862954, 0.26130258, 0.27577711];
/** Positions of a model are a few hundred pixels wide. */
const LARGEST = 8192;

const SIDE = `it must be a whole number from 1 to ${LARGEST}`;
const Side = v.pipe(v.number(SIDE), v.integer(SIDE), v.minValue(1, SIDE), v.maxValue(LARGEST, SIDE));
const Both = v.strictObject({ height: Side, width: Side });
const SIZE = "it must be a number of pixels, {height, width} or {shortest_edge}";
const NUMBERS = "it must be three numbers";
const Numbers = v.union(
  [
    v.strictTuple([v.number(), v.number(), v.number()]),
    v.pipe(
      v.number(),
      v.transform((all): [number, number, number] => [all, all, all]),
    ),
  ],
  NUMBERS,
);
const Flag = v.nullish(v.boolean("it must be true or false"), true);

const Settings = v.object({
  image_processor_type: v.nullish(v.string()),
  feature_extractor_type: v.nullish(v.string()),
  do_resize: Flag,
  size: v.nullish(v.union([Side, Both, v.strictObject({ shortest_edge: Side })], SIZE), { shortest_edge: 224 }),
  resample: v.nullish(v.number("it must be a number"), 3),
  do_center_crop: Flag,
  crop_size: v.nullish(v.union([Side, Both], SIZE), { height: 224, width: 224 }),
  do_rescale: Flag,
  rescale_factor: v.nullish(v.pipe(v.number("it must be a number"), v.finite("it must be a finite number")), 1 / 255),
  do_normalize: Flag,
  image_mean: v.nullish(Numbers, [...CLIP_MEAN]),
  image_std: v.nullish(Numbers, [...CLIP_STD]),
  do_pad: v.nullish(v.boolean("it must be true or false"), false),
});

/**
 * Reads a model folder's preprocessor_config.json, or what newer processors keep of it in processor_config.json, which
 * goes first in transformers. Old files have a number as size (CLIP's and BiT's processors: the shorter side).
 *
 * @throws {RandloraError} `file` without either, `format` for values that make no sense, `model` for another processor and
 *   for settings that give images of different sizes
 */
export async function readPreprocessing(folder: string): Promise<Preprocessing> {
  const hint = "fetch or copy the file again";
  const nested = join(folder, "processor_config.json");
  if (existsSync(nested)) {
    const json = await readJson(nested, MAX_SETTINGS_BYTES, hint);
    if (isJsonObject(json) && json["image_processor"] !== undefined) {
      return parsePreprocessing(json["image_processor"], oneLine(nested));
    }
  }
  const path = join(folder, "preprocessor_config.json");
  return parsePreprocessing(await readJson(path, MAX_SETTINGS_BYTES, hint), oneLine(path));
}

/** {@link readPreprocessing} of JSON that was read. @param name of the file, fit to be printed */
export function parsePreprocessing(json: unknown, name: string): Preprocessing {
  if (!isJsonObject(json)) throw new RandloraError("format", `${name}: not an object with settings`);
  const parsed = v.safeParse(Settings, json);
  if (!parsed.success) {
    const where = v.getDotPath(parsed.issues[0]);
    throw new RandloraError(
      "format",
      `${name}: ${where === null ? "" : `${brief(where)}: `}${brief(parsed.issues[0].message)}`,
    );
  }
  const settings = parsed.output;
  const refuse = (what: string): never => {
    throw new RandloraError("model", `${name}: ${what}`, "the processors of CLIP and DINOv2 are known");
  };
  const type = settings.image_processor_type ?? settings.feature_extractor_type ?? "";
  if (type !== "" && !PROCESSORS.test(type)) refuse(`images are prepared by ${quote(type)}`);
  const filter = FILTERS[settings.resample] ?? refuse(`resample ${settings.resample} is not known`);
  if (settings.do_pad) refuse("images are padded");
  const size = typeof settings.size === "number" ? { shortest_edge: settings.size } : settings.size;
  const resize = "shortest_edge" in size ? { shortest: size.shortest_edge } : size;
  const square = settings.crop_size;
  const crop = typeof square === "number" ? { height: square, width: square } : square;
  const fixed = settings.do_center_crop ? crop : settings.do_resize && "width" in resize ? resize : undefined;
  if (fixed === undefined) return refuse("images keep sizes of their own");
  const { image_mean: mean, image_std: std } = settings;
  if (std.includes(0)) refuse("image_std is 0");
  return {
    resize: settings.do_resize ? resize : undefined,
    filter,
    crop: settings.do_center_crop ? crop : undefined,
    rescale: settings.do_rescale ? settings.rescale_factor : undefined,
    normalize: settings.do_normalize ? { mean, std } : undefined,
    width: fixed.width,
    height: fixed.height,
  };
}
