import { PATTERNS } from "../tokenizer/pattern.ts";

/** How llama.cpp cuts a text before byte-level BPE, for one `tokenizer.ggml.pre` (llama-vocab.cpp). */
export interface PreTokenizer {
  readonly regex: string;
  /** Digits stand alone, whatever the regular expression says. */
  readonly digits: boolean;
  /** A piece that is a token as a whole is not put together of merges. */
  readonly ignoreMerges: boolean;
}

const plain = (regex: string): PreTokenizer => ({ regex, digits: false, ignoreMerges: false });
const smollm = { regex: PATTERNS.gpt2, digits: true, ignoreMerges: false };
const llama3 = { regex: PATTERNS.llama3, digits: false, ignoreMerges: true };

/** The ones that this program knows how to build; of several names of the same, the first is written. */
export const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map(
  Object.entries({
    "gpt-2": plain(PATTERNS.gpt2),
    smollm,
    "llama-bpe": llama3,
    dbrx: plain(PATTERNS.llama3),
    qwen2: plain(PATTERNS.qwen2),
    qwen35: plain(PATTERNS.qwen35),
    "gpt-4o": plain(PATTERNS.o200k),
    tekken: { regex: PATTERNS.tekken, digits: false, ignoreMerges: true },
    llama3,
    "llama-v3": llama3,
    falcon3: llama3,
    "smaug-bpe": plain(PATTERNS.llama3),
    "deepseek-r1-qwen": plain(PATTERNS.qwen2),
    megrez: plain(PATTERNS.qwen2),
    llama4: plain(PATTERNS.o200k),
    starcoder: smollm,
    refact: smollm,
    exaone: smollm,
    "minerva-7b": smollm,
    olmo: plain(PATTERNS.gpt2),
    "phi-2": plain(PATTERNS.gpt2),
    mellum: plain(PATTERNS.gpt2),
    exaone4: plain(PATTERNS.gpt2),
    trillion: plain(PATTERNS.gpt2),
    "granite-docling": plain(PATTERNS.gpt2),
    "a.x-4.0": plain(PATTERNS.gpt2),
    lfm2: llama3,
    pixtral: llama3,
    "midm-2.0": llama3,
    "command-r": smollm,
    glm4: plain(PATTERNS.llama3),
    "chatglm-bpe": plain(PATTERNS.llama3),
  }),
);

/** Qwen's: their tokenizer.json composes characters first, which llama.cpp leaves out. */
export const COMPOSING: ReadonlySet<string> = new Set(["qwen2", "qwen35", "deepseek-r1-qwen", "megrez"]);

/**
 * The text whose ids tell tokenizers apart, and the SHA-256 of Python's `str(ids)` for those of the supported
 * architectures: llama.cpp's convert_hf_to_gguf.py, `get_vocab_base_pre`.
 */
export const PROBE =
  "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) 😶\u200d🌫️ (multiple emojis concatenated) ✅ 🦙🦙 3 33 333 3333 33333 333333 3333333 33333333 3.3 3..3 3...3 កាន់តែពិសេសអាច😁 ?我想在apple工作1314151天～ ------======= нещо на Български ''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? 'M not sure I'll make it, 'D you like some tea? We'Ve a'lL";

export const PROBED: ReadonlyMap<string, string> = new Map(
  Object.entries({
    "0ef9807a4087ebef797fc749390439009c3b9eda9ad1a097abbe738f486c01e5": "llama-bpe",
    "049ecf7629871e3041641907f3de7c733e4dbfdc736f57d882ba0b0845599754": "deepseek-llm",
    "347715f544604f9118bb75ed199f68779f423cabb20db6de6f31b908d04d7821": "deepseek-coder",
    "9d032fcbd5501f4a38150912590928bfb36091efb5df11b8e2124b0390e3fb1e": "falcon3",
    e636dc30a262dcc0d8c323492e32ae2b70728f4df7dfe9737d9f920a282b8aea: "qwen2",
    d4540891389ea895b53b399da6ac824becc30f2fba0e9ddbb98f92e55ca0e97c: "qwen2",
    d30d75d9059f1aa2c19359de71047b3ae408c70875e8a3ccf8c5fba56c9d8af4: "qwen35",
    "1444df51289cfa8063b96f0e62b1125440111bc79a52003ea14b6eac7016fd5f": "qwen35",
    "855059429035d75a914d1eda9f10a876752e281a054a7a3d421ef0533e5b6249": "smollm",
    "63b97e4253352e6f357cc59ea5b583e3a680eaeaf2632188c2b952de2588485e": "tekken",
    a8594e3edff7c29c003940395316294b2c623e09894deebbc65f33f1515df79e: "dbrx",
    ccc2ef013c104be7bae2965776d611e1d7a8a2a9c547dd93a682c9a9fc80352e: "gpt-4o",
    b3f499bb4255f8ca19fccd664443283318f2fd2414d5e0b040fbdd0cc195d6c5: "deepseek-r1-qwen",
    "1431a23e583c97432bc230bff598d103ddb5a1f89960c8f1d1051aaa944d0b35": "minerva-7b",
    c136ed14d01c2745d4f60a9596ae66800e2b61fa45643e72436041855ad4089d: "smaug-bpe",
    c7ea5862a53e4272c035c8238367063e2b270d51faa48c0f09e9d5b54746c360: "poro-chat",
    "7fc505bd3104ca1083b150b17d088b59534ede9bde81f0dd2090967d7fe52cee": "viking",
    d4c8f286ea6b520b3d495c4455483cfa2302c0cfcd4be05d781b6a8a0a7cdaf1: "megrez",
    "7dec86086fcc38b66b7bc1575a160ae21cf705be7718b9d5598190d7c12db76f": "superbpe",
    "1994ffd01900cfb37395608534236ecd63f2bd5995d6cb1004dda1af50240f15": "trillion",
    d353350c764d8c3b39c763113960e4fb4919bea5fbf208a0e3b22e8469dc7406: "llama4",
    "0e9433cbbb161f89e264eb32e8e64bfe69e834973ffca5d41d3948a604a3e2a3": "pixtral",
    d5f1dd6f980fec569fb218a81a7658ac45fc56b38c5a0adeb1c232fbe04ef5ec: "seed-coder",
    b0a6b1c0bd5998ebd9df08611efde34a4ff03faed45ae09c43e6b31ebd4b94cf: "a.x-4.0",
    f6791d196f87ce6b56a7d234be618e0d58f8cda3549416635b2bebcd22cd95c4: "midm-2.0",
    a1e163ecab2e718a4c829d1148b6e86824ec36163bb71941c3dca9cd5ac25756: "mellum",
    "53e325976a6e142379c19b09afcae354f2f496f147afa8f9e189a33fe4e3024e": "granite-docling",
    "9d70134b369a70e5735009b6de918f7581b5211f7c074d1f89f753aea8248af1": "youtu",
    "3ce83efda5659b07b1ad37ca97ca5797ea4285d9b9ab0dc679e4a720c9da7454": "gpt-2",
    "35d91631860c815f952d711435f48d356ebac988362536bed955d43bfa436e34": "starcoder",
    "6221ad2852e85ce96f791f476e0b390cf9b474c9e3d1362f53a24a06dc8220ff": "refact",
    "9c2227e4dd922002fb81bde4fc02b0483ca4f12911410dee2255e4987644e3f8": "command-r",
    b6dc8df998e1cfbdc4eac8243701a65afe638679230920b50d6f17d81c098166: "olmo",
    a1336059768a55c99a734006ffb02203cd450fed003e9a71886c88acf24fdbc2: "glm4",
    "169bf0296a13c4d9b7672313f749eb36501d931022de052aad6e36f2bf34dd51": "lfm2",
    "9e454714343b69b99b71795c1d27a68c2a1d15dab111f4d353109f966af29da7": "lfm2",
    "2085e1638f6c377a0aa4ead21b27bb4cb941bf800df86ed391011769c1758dfb": "exaone4",
  }),
);
