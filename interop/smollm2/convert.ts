import { join } from "node:path";
import * as v from "valibot";
import { roundFromF32 } from "../../src/files/safetensors/numbers.ts";
import { SafetensorsWriter } from "../../src/files/safetensors/writer.ts";
import type { GgufFile } from "./gguf-file.ts";
import { ggufName, llamaNames, pairedRow } from "./gguf-layout.ts";

/** llama.cpp's number of the kind of tokens that no text becomes. */
const CONTROL = 3;

/** What of a llama's metadata is needed here. */
interface Sizes {
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  readonly context: number;
}

/** Writes a llama with tied embeddings and a byte-level BPE as a Hugging Face folder, its weights rounded once to bf16. */
export async function writeModel(file: GgufFile, folder: string): Promise<void> {
  const sizes = sizesOf(file);
  await writeWeights(file, sizes, join(folder, "model.safetensors"));
  const [bos, eos] = [1, 2];
  const ids = { bos_token_id: bos, eos_token_id: eos, pad_token_id: eos };
  const files = {
    "config.json": { ...configOf(file, sizes), ...ids },
    "generation_config.json": ids,
    "tokenizer.json": tokenizerOf(file),
    "tokenizer_config.json": {
      tokenizer_class: "GPT2Tokenizer",
      add_prefix_space: false,
      clean_up_tokenization_spaces: false,
      model_max_length: sizes.context,
      bos_token: "<|im_start|>",
      eos_token: "<|im_end|>",
      unk_token: "<|endoftext|>",
      pad_token: "<|im_end|>",
      chat_template: file.get("tokenizer.chat_template", v.string()),
    },
  };
  for (const [name, content] of Object.entries(files)) {
    await Bun.write(join(folder, name), `${JSON.stringify(content, undefined, 1)}\n`);
  }
}

function sizesOf(file: GgufFile): Sizes {
  const size = (key: string): number => file.get(`llama.${key}`, v.number());
  return {
    layers: size("block_count"),
    heads: size("attention.head_count"),
    kvHeads: size("attention.head_count_kv"),
    headSize: size("rope.dimension_count"),
    context: size("context_length"),
  };
}

async function writeWeights(file: GgufFile, { layers, heads, kvHeads, headSize }: Sizes, path: string): Promise<void> {
  const tensors = llamaNames(layers).map((name) => ({
    name,
    dtype: "BF16" as const,
    shape: [...file.shapeOf(ggufName(name))],
  }));
  await using writer = await SafetensorsWriter.create(path, tensors, new Map([["format", "pt"]]));
  for (const { name, shape } of tensors) {
    const turned = name.endsWith("q_proj.weight") ? heads : name.endsWith("k_proj.weight") ? kvHeads : 0;
    const values = rowsInHalves(file.read(ggufName(name)), turned, headSize, shape[1] ?? 1);
    const bytes = new Uint8Array(values.length * 2);
    roundFromF32(values, "BF16", bytes);
    await writer.append(name, bytes);
  }
  await writer.finish();
}

/** The rows of so many heads, back from llama.cpp's order. */
function rowsInHalves(values: Float32Array, heads: number, headSize: number, cols: number): Float32Array {
  const rows = values.slice();
  for (let row = 0; row < heads * headSize; row++) {
    const from = row - (row % headSize) + pairedRow(row % headSize, headSize);
    rows.set(values.subarray(from * cols, (from + 1) * cols), row * cols);
  }
  return rows;
}

function configOf(file: GgufFile, { layers, heads, kvHeads, headSize, context }: Sizes): object {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    dtype: "bfloat16",
    hidden_act: "silu",
    hidden_size: file.get("llama.embedding_length", v.number()),
    intermediate_size: file.get("llama.feed_forward_length", v.number()),
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: headSize,
    vocab_size: file.get("llama.vocab_size", v.number()),
    max_position_embeddings: context,
    // The file has it in f32, whose nearest double has more digits.
    rms_norm_eps: 1e-5,
    rope_theta: file.get("llama.rope.freq_base", v.number()),
    tie_word_embeddings: true,
    attention_bias: false,
    mlp_bias: false,
  };
}

function tokenizerOf(file: GgufFile): object {
  const tokens = file.get("tokenizer.ggml.tokens", v.array(v.string()));
  const kinds = file.get("tokenizer.ggml.token_type", v.array(v.number()));
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: tokens.flatMap((content, id) => (kinds[id] === CONTROL ? [{ id, content, ...plain }] : [])),
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Digits", individual_digits: true },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: file.get("tokenizer.ggml.merges", v.array(v.string())),
    },
  };
}
