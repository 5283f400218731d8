// Whole folders of small models of images: with the settings of images, and a tokenizer of a few words.
import { join } from "node:path";
import { writeModel } from "../../testing/models.ts";
import { CLIP, CLIP_SHAPES, DINOV2, DINOV2_SHAPES, type Shapes, writeImageModel } from "./models.ts";

/** Both models' own size. */
const PREPROCESSING = { size: { shortest_edge: 12 }, crop_size: { height: 12, width: 12 } };

const [BEGIN, END] = [18, 19];

/** Whole words alone; what is none is word 0. Templates of three words and a class of one fill CLIP's six places. */
export const WORDS = ["?", "an", "image", "of", "cat", "dog", "owl", "photo"];

const special = ["<|startoftext|>", "<|endoftext|>"] as const;

const TOKENIZER = {
  version: "1.0",
  added_tokens: special.map((content, at) => ({
    id: at === 0 ? BEGIN : END,
    content,
    special: true,
    normalized: false,
    single_word: false,
    lstrip: false,
    rstrip: false,
  })),
  normalizer: { type: "Lowercase" },
  pre_tokenizer: { type: "WhitespaceSplit" },
  post_processor: {
    type: "RobertaProcessing",
    cls: [special[0], BEGIN],
    sep: [special[1], END],
    trim_offsets: false,
    add_prefix_space: false,
  },
  model: {
    type: "BPE",
    unk_token: "?",
    ignore_merges: true,
    vocab: Object.fromEntries([
      ...WORDS.map((word, id) => [word, id] as const),
      [special[0], BEGIN] as const,
      [special[1], END] as const,
    ]),
    merges: [],
  },
};

/** The ids of a text of known words. */
export function idsOf(text: string): number[] {
  return [
    BEGIN,
    ...text
      .toLowerCase()
      .split(" ")
      .map((word) => Math.max(0, WORDS.indexOf(word))),
    END,
  ];
}

/** A CLIP of {@link CLIP}. */
export async function writeClip(folder: string): Promise<void> {
  await writeImageModel(folder, CLIP, CLIP_SHAPES);
  await Bun.write(join(folder, "preprocessor_config.json"), JSON.stringify(PREPROCESSING));
  await Bun.write(join(folder, "tokenizer.json"), JSON.stringify(TOKENIZER));
}

/** A DINOv2 of {@link DINOV2}. */
export async function writeDinov2(folder: string): Promise<void> {
  await writeImageModel(folder, DINOV2, DINOV2_SHAPES);
  await Bun.write(join(folder, "preprocessor_config.json"), JSON.stringify(PREPROCESSING));
}

/** The weights of the layers' linear modules. */
export const LAYER_WEIGHTS = /\.layers?\.\d+\..*(_proj|query|key|value|dense|fc[12])\.weight$/;

/** The same CLIP with rows that are whole blocks of 32 numbers. */
export async function writeWiderClip(folder: string): Promise<void> {
  await writeClip(folder);
  const clip = {
    ...CLIP,
    projection_dim: 64,
    vision_config: { ...CLIP.vision_config, hidden_size: 32, intermediate_size: 64 },
    text_config: { ...CLIP.text_config, hidden_size: 32, intermediate_size: 64 },
  };
  await writeRandom(folder, clip, wider(CLIP_SHAPES, { 8: 32, 12: 64, 16: 32, 24: 64 }));
}

/** The same DINOv2. */
export async function writeWiderDinov2(folder: string): Promise<void> {
  await writeDinov2(folder);
  await writeRandom(folder, { ...DINOV2, hidden_size: 32 }, wider(DINOV2_SHAPES, { 8: 32, 16: 64 }));
}

function wider(shapes: Shapes, sizes: Readonly<Record<number, number>>): Shapes {
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, shape.map((size) => sizes[size] ?? size)]),
  );
}

/** Writes weights as good as random (waves would look the same in every row), norms and factors around 1. */
async function writeRandom(folder: string, config: object, shapes: Shapes): Promise<void> {
  const middles = Object.entries(shapes).flatMap(([name, shape]) => {
    const middle = /norm\d?\.weight$|lambda1$|logit_scale$/.test(name) ? 1 : 0;
    const size = shape.reduce((product, length) => product * length, 1);
    return Array.from({ length: size }, () => middle);
  });
  await writeModel(folder, config, shapes, (at) => {
    const place = Math.sin(at + 1) * 43_758.5453;
    return (middles[at] ?? NaN) + 0.6 * (place - Math.floor(place) - 0.5);
  });
}
