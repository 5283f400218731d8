import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import { attentionsOf, type DecoderConfig } from "../decoder/config.ts";
import { attentionPeriod, HYBRIDS } from "./fields.ts";
import { checkGemma4 } from "./gemma4.ts";
import { ggufName } from "./metadata.ts";

/** Every how many layers one attends to everything, whatever a file says: llama.cpp's own numbers. */
const PERIODS: Readonly<Record<string, number>> = {
  gemma2: 2,
  gemma3_text: 6,
  gemma3: 6,
  olmo3: 4,
  exaone4: 4,
  cohere2: 4,
  gpt_oss: 2,
};
/** Layers of the one EXAONE 4 that has windows there: 32B. */
const EXAONE_32B = 64;
/** Layers of the models whose attention llama.cpp scales by √(hidden size / heads): the 27B ones. */
export const GEMMA_27B: Readonly<Record<string, number>> = { gemma2: 46, gemma3_text: 62, gemma3: 62 };

/**
 * What llama.cpp would compute otherwise, because its architecture has no such setting.
 * @returns notes for models that only differ in texts longer than they were trained on, or than their window
 * @throws RandloraError `model` where every text would differ
 */
export function checkForGguf(config: DecoderConfig): string[] {
  const { architecture, hiddenSize, layers, contextLength } = config;
  const attentions = attentionsOf(config);
  const [{ heads, headSize, softcap, qkvBias, output }] = attentions;
  const refuse = (what: string): never => {
    const hint = "llama.cpp's architecture has no setting for it; use the model's folder";
    throw new RandloraError("model", `GGUF's ${quote(architecture)} cannot say: ${what}`, hint);
  };
  const isGemma = architecture.startsWith("gemma");
  for (const { mixer } of layers.flat()) {
    if (mixer.kind !== "mlp" && mixer.kind !== "experts") continue;
    const wanted = isGemma || ["starcoder2", "gpt2"].includes(architecture) ? "gelu-tanh" : "silu";
    if (mixer.activation !== wanted) refuse(`activation ${mixer.activation}`);
  }
  const byWidth = layers.length === GEMMA_27B[architecture];
  const isGemma4 = architecture.startsWith("gemma4");
  const usual = isGemma4 ? 1 : 1 / Math.sqrt(byWidth ? Math.floor(hiddenSize / heads) : headSize);
  const other = attentions.find(({ scale }) => Math.abs(scale / usual - 1) > 1e-6);
  if (!architecture.startsWith("granite") && other !== undefined) refuse(`attention scale ${other.scale}`);
  if (isGemma || NO_BIASES.includes(architecture)) {
    if (qkvBias !== undefined || output.bias !== undefined) refuse("biases of attention");
  }
  if (
    ["smollm3", "seed_oss", "lfm2", "lfm2_moe"].includes(architecture) &&
    layers.flat().some(({ mixer }) => mixer.kind !== "experts" && mixer.output.bias !== undefined)
  ) {
    refuse("biases of outputs");
  }
  checkMixers(config, refuse);
  // Every fourth layer of SmolLM3 is without rope there.
  if (attentions.some(({ rope }, layer) => architecture === "smollm3" && (rope === 1) !== (layer % 4 === 3))) {
    refuse("which layers have no rope");
  }
  if (architecture === "gemma2") {
    if (config.head !== undefined) refuse("an output matrix of its own");
    if (softcap === undefined || config.logitSoftcap === undefined) refuse("no soft caps");
  }
  if (WHOLE_HEADS.includes(architecture) && headSize * heads !== hiddenSize) {
    refuse(`heads of ${headSize} elements`);
  }
  if (["olmo2", "olmo3", "olmoe", "qwen2_moe", "gpt_oss"].includes(architecture) && config.head === undefined) {
    refuse("an embedding that is the output matrix as well");
  }
  if (architecture === "cohere2" && config.head !== undefined) refuse("an output matrix of its own");
  if (["starcoder2", "gpt_oss"].includes(architecture) && (qkvBias === undefined || output.bias === undefined))
    refuse("no biases");
  checkExperts(config, refuse);
  checkRopes(config, refuse);
  if (isGemma4) {
    checkGemma4(config, refuse);
    return [];
  }
  const windows = attentions.map(({ window }) => window);
  const period = PERIODS[architecture];
  const isWindowed = architecture !== "exaone4" || layers.length === EXAONE_32B;
  if (!isWindowed && windows.some(Number.isFinite)) refuse("windows of a model of another size");
  if (period !== undefined && isWindowed) {
    if (windows.some((window, layer) => (window === Infinity) !== ((layer + 1) % period === 0))) {
      refuse("which layers have a sliding window");
    }
    return notesOnRope(config);
  }
  const least = Math.min(...windows);
  if (least >= contextLength) return notesOnRope(config);
  const note = `llama.cpp attends to everything: texts longer than the sliding window of ${least} tokens differ`;
  return [note, ...notesOnRope(config)];
}

/** Architectures without biases there, and those whose heads make up the hidden size. */
const NO_BIASES =
  "qwen3 qwen3_moe qwen3_next qwen3_5 qwen3_5_text olmo2 olmo3 olmoe smollm3 exaone4 cohere2 lfm2 lfm2_moe".split(" ");
const WHOLE_HEADS =
  "phi3 qwen2 qwen2_moe olmo2 olmo3 olmoe granite granitemoe granitemoehybrid starcoder2 cohere2 gpt2 lfm2 lfm2_moe".split(
    " ",
  );

/** Which layers have what, beside attention: llama.cpp keeps a state of each, and loads no model that has none. */
function checkMixers(config: DecoderConfig, refuse: (what: string) => never): void {
  const { architecture, layers } = config;
  const mixers = layers.map((layer) => layer.map(({ mixer }) => mixer));
  const all = mixers.flat();
  if (architecture.startsWith("lfm2") && !all.some(({ kind }) => kind === "convolution")) refuse("no convolutions");
  const rule = all.find((mixer) => mixer.kind === "gated-delta");
  if (rule === undefined) {
    if (HYBRIDS.includes(ggufName(architecture))) refuse("no layers of the gated delta rule");
    return;
  }
  if (rule.keySize !== rule.valueSize) refuse(`keys of ${rule.keySize} and values of ${rule.valueSize} elements`);
  const period = attentionPeriod(config);
  if (mixers.some((layer, at) => layer.some(({ kind }) => kind === "attention") !== ((at + 1) % period === 0))) {
    refuse("which layers have attention");
  }
}

/** What llama.cpp clamps gpt-oss's gates to. */
const GATE_LIMIT = 7;

/** Weights of the chosen experts add up to 1 in each architecture, or in none of its models; every layer has experts. */
function checkExperts({ architecture, layers }: DecoderConfig, refuse: (what: string) => never): void {
  const mixers = layers.flatMap((layer) => layer.map(({ mixer }) => mixer));
  const experts = mixers.flatMap((mixer) => (mixer.kind === "experts" ? [mixer] : []));
  if (experts.length === 0) {
    if (/moe$|^mixtral$|^qwen3_next$/.test(architecture)) refuse("no layers with experts");
    return;
  }
  if (architecture !== "lfm2_moe" && mixers.some(({ kind }) => kind === "mlp")) refuse("layers without experts");
  if (experts.some(({ logistic, selection }) => logistic === true && selection === undefined)) {
    refuse("experts that are chosen by their weights alone");
  }
  const clamped = experts.find(({ clamp = GATE_LIMIT }) => clamp !== GATE_LIMIT);
  if (clamped !== undefined) refuse(`swiglu_limit ${clamped.clamp}`);
  const other = experts.find(({ factor = 1 }) => factor !== 1);
  if (other !== undefined) refuse(`routed_scaling_factor ${other.factor}`);
  const isAmongChosen = !["olmoe", "qwen2_moe"].includes(architecture);
  if (experts.some(({ amongChosen }) => amongChosen !== isAmongChosen)) {
    refuse(`norm_topk_prob ${!isAmongChosen}`);
  }
  const [first] = mixers.flatMap((mixer) => (mixer.kind === "attention" ? [mixer] : []));
  if (architecture === "olmoe" && first?.heads !== first?.kvHeads) refuse("heads that share keys and values");
}

function checkRopes({ architecture, ropes }: DecoderConfig, refuse: (what: string) => never): void {
  for (const [index, { scaling, theta }] of ropes.entries()) {
    const { kind } = scaling;
    const isSliding = index > 0;
    if ((kind === "longrope") !== (architecture === "phi3") && (kind === "longrope" || kind !== "default")) {
      refuse(`RoPE scaling ${kind}`);
    }
    if ((kind === "proportional") !== (architecture.startsWith("gemma4") && !isSliding)) refuse(`RoPE scaling ${kind}`);
    if (isSliding && kind !== "default" && kind !== "none") refuse(`RoPE scaling ${kind} of sliding layers`);
    if (architecture === "gemma2" && kind !== "default") refuse(`RoPE scaling ${kind}`);
    if (kind === "llama3" && !["llama", "mistral", "mixtral", "exaone4"].includes(architecture))
      refuse("RoPE scaling llama3");
    if (architecture === "cohere2" && !["default", "none"].includes(kind)) refuse(`RoPE scaling ${kind}`);
    if (architecture === "olmo3" && theta !== ropes[0]?.theta) refuse("RoPE bases of their own of sliding layers");
    // Files do not say it: llama.cpp truncates gpt-oss's, too, whose published models do not.
    if (kind === "yarn" && scaling.truncate === (architecture === "gpt_oss")) {
      refuse(`YaRN with${scaling.truncate ? "" : "out"} truncation`);
    }
    if (architecture === "gemma2" && theta !== 10_000) refuse(`RoPE base ${theta}`);
  }
}

function notesOnRope({ architecture, ropes }: DecoderConfig): string[] {
  return ropes.flatMap(({ scaling }) => {
    if (scaling.kind === "dynamic") {
      return [`llama.cpp has no dynamic RoPE: texts longer than ${scaling.trainedLength} tokens differ`];
    }
    if (scaling.kind !== "yarn") return [];
    const ends =
      "llama.cpp begins and ends YaRN's interpolation at whole pairs of elements: its logits differ slightly";
    // Its loader reads both for a few architectures alone, of which this is one.
    const isRead = ggufName(architecture) === "mistral3";
    const betas = "llama.cpp's YaRN has beta_fast 32 and beta_slow 1, whatever a file says: its logits differ";
    const isUsual = isRead || (scaling.betaFast === 32 && scaling.betaSlow === 1);
    return [...(scaling.truncate ? [] : [ends]), ...(isUsual ? [] : [betas])];
  });
}
