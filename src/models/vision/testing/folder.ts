// Whole folders of small models of pictures: with the settings of pictures, and a tokenizer of a few words.
import { join } from "node:path";
import { CLIP, CLIP_SHAPES, DINOV2, DINOV2_SHAPES, writeImageModel } from "./models.ts";

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
