import { Run } from "../src/compute/tensor/run.ts";
import type { Tensor, TensorDtype } from "../src/compute/tensor/tensor.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { Batch } from "../src/models/decoder/cache/batch.ts";
import { DecoderWeights } from "../src/models/decoder/weights.ts";
import { loadDecoder } from "../src/models/folder/load-decoder.ts";
import { LLAMA_8B, writeHollow } from "../src/models/testing/hollow.ts";
import type { RecordedGpu, Recording } from "./recorded-gpu.ts";
import { Trainee } from "./training/trainee.ts";

/** One thing to count. */
export interface CardCase {
  readonly name: string;
  record(on: RecordedGpu): Promise<Recording>;
}

/** Layers of an 8B model. */
const { hidden_size: HIDDEN, intermediate_size: INNER, vocab_size: VOCABULARY } = LLAMA_8B;
/** Tokens of a prompt's block, or of a training step; keys that tokens see. */
const [PROMPT, KEYS] = [512, 8192] as const;

const TIED = { ...LLAMA_8B, tie_word_embeddings: true };
const SMALL = { ...TIED, hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, vocab_size: 49_152 };
const MIDDLE = { ...TIED, hidden_size: 1536, intermediate_size: 8960, num_hidden_layers: 28, vocab_size: 151_936 };
const MODELS = {
  "135M": { ...SMALL, num_attention_heads: 9, num_key_value_heads: 3 },
  "1.5B": { ...MIDDLE, num_attention_heads: 12, num_key_value_heads: 2 },
  "8B": LLAMA_8B,
} as const;

/** Two products that differ in rows. */
export const FEW_ROWS = { few: "product NT 16 × 4096² BF16", many: "product NT 128 × 4096² BF16" } as const;

/** Records on tensors of a shape, whose values do not matter. */
type Record = (run: Run, tensor: (rows: number, cols: number, dtype?: TensorDtype) => Tensor) => void;

function kernel(name: string, record: Record): CardCase {
  return {
    name,
    record: async (on) => {
      using run = new Run(on.gpu);
      record(run, (rows, cols, dtype = "F32") => run.allocate("operand", [rows, cols], dtype));
      return await on.record(() => run.submit());
    },
  };
}

function* kernels(): Generator<CardCase> {
  const product = (order: "NT" | "NN" | "TN", dtype: TensorDtype, rows = 4096): Record => {
    return (run, tensor) => {
      const [a, b, y] = [tensor(rows, 4096), tensor(4096, 4096, dtype), tensor(rows, 4096)];
      run.compute("gemm", { order, a, b, y });
    };
  };
  for (const [order, dtype] of [
    ["NT", "F32"],
    ["NN", "F32"],
    ["TN", "F32"],
    ["NT", "BF16"],
    ["NT", "Q8_0"],
  ] as const) {
    yield kernel(`product ${order} 4096³ ${dtype}`, product(order, dtype));
  }
  yield kernel(FEW_ROWS.few, product("NT", "BF16", 16));
  yield kernel(FEW_ROWS.many, product("NT", "BF16", 128));
  for (const [rows, dtype] of [
    [1, "F16"],
    [1, "BF16"],
    [1, "Q8_0"],
    [1, "Q4_0"],
    [4, "BF16"],
    [64, "BF16"],
  ] as const) {
    yield kernel(`linear ${rows} × ${HIDDEN} → ${INNER} ${dtype}`, (run, tensor) => {
      const [x, weight, y] = [tensor(rows, HIDDEN), tensor(INNER, HIDDEN, dtype), tensor(rows, INNER)];
      run.compute("linear", { rowsAtMost: rows, x, weight, bias: undefined, residual: undefined, scale: 1, y });
    });
  }
  for (const [tokens, dtype] of [
    [1, "F32"],
    [1, "F16"],
    [1, "Q8_ROWS"],
    [PROMPT, "F16"],
  ] as const) {
    yield kernel(`attention of ${tokens} over ${KEYS} keys ${dtype}`, (run, tensor) => {
      const [q, y] = [tensor(tokens, HIDDEN), tensor(tokens, HIDDEN)];
      const [keys, values] = [tensor(KEYS, HIDDEN / 4, dtype), tensor(KEYS, HIDDEN / 4, dtype)];
      const extras = { first: undefined, last: undefined, softcap: undefined, lse: undefined };
      const sight = { headSize: 128, firstPosition: KEYS - tokens, scale: 1, window: Infinity };
      run.compute("attention", { q, keys, values, y, ...sight, ...extras });
    });
  }
  for (const k of [1, 40]) {
    yield kernel(`top ${k} of ${VOCABULARY}`, (run, tensor) => {
      run.compute("topK", { k, x: tensor(1, VOCABULARY), values: tensor(1, k), ids: tensor(1, k, "U32") });
    });
  }
}

/** A folder with a model whose weights are a hole, which nobody reads. */
async function hollow(config: object): Promise<TemporaryFolder> {
  DecoderWeights.prototype.fill = async () => {};
  const folder = await TemporaryFolder.create();
  await writeHollow(folder.path, config);
  return folder;
}

function* passes(): Generator<CardCase> {
  for (const [name, config] of Object.entries(MODELS)) {
    for (const [what, tokens, quantize] of [
      ["decode", 1, undefined],
      ["decode", 1, "Q8_0"],
      ["prefill", PROMPT, undefined],
    ] as const) {
      const weights = quantize ?? "BF16";
      const record: CardCase["record"] = async (on) => {
        await using folder = await hollow(config);
        using decoder = await loadDecoder(on.gpu, folder.path, { quantize, kvDtype: "F16" });
        using batch = new Batch(decoder, { rows: 1, positions: 2 * KEYS });
        const slot = batch.pool.acquire();
        const ids = (count: number) => Array.from({ length: count }, () => 0);
        if (tokens > 1) {
          const piece = { slot, ids: ids(tokens), sequenceLength: tokens };
          return await on.record(() => batch.pass([], piece));
        }
        await batch.pool.reserve(slot, KEYS / 4);
        slot.advance(ids(KEYS / 4 - 2), KEYS / 4, true);
        const next = () => batch.pass([{ slot, id: 0, top: 1, all: false, lse: false }]);
        // The first is recorded by the program, too.
        await next();
        return await on.record(next);
      };
      yield { name: `${what} ${name} ${weights}`, record };
    }
  }
  yield {
    name: "train 135M LoRA",
    record: async (on) => {
      await using folder = await hollow(MODELS["135M"]);
      await using trainee = await Trainee.open(on.gpu, folder.path, { method: "lora", rank: 16, tokens: PROMPT });
      await trainee.step();
      return await on.record(() => trainee.step());
    },
  };
}

/** Kernels on the sizes of an 8B model, and passes of models. */
export const CARD_CASES: readonly CardCase[] = [...kernels(), ...passes()];
