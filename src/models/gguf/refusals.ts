import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import { attentionsOf, type DecoderConfig } from "../decoder/config.ts";
import { yarnTemperature } from "../blocks/rope-scaling.ts";

/** Every how many layers one of Gemma's attends to everything: llama.cpp's own numbers. */
const PERIODS: Readonly<Record<string, number>> = { gemma2: 2, gemma3_text: 6 };
/** Layers of the models whose attention llama.cpp scales by √(hidden size / heads): the 27B ones. */
export const GEMMA_27B: Readonly<Record<string, number>> = { gemma2: 46, gemma3_text: 62 };

/**
 * What llama.cpp would compute otherwise, because its architecture has no such setting.
 * @returns notes for models that only differ in texts longer than they were trained on, or than their window
 * @throws RandloraError `model` where every text would differ
 */
export function checkForGguf(config: DecoderConfig): string[] {
  const { architecture, hiddenSize, layers, contextLength } = config;
  const attentions = attentionsOf(config);
  const [{ heads, headSize, scale, softcap, qkvBias, output }] = attentions;
  const refuse = (what: string): never => {
    const hint = "llama.cpp's architecture has no setting for it; use the model's folder";
    throw new RandloraError("model", `GGUF's ${quote(architecture)} cannot say: ${what}`, hint);
  };
  const isGemma = architecture.startsWith("gemma");
  for (const { mixer } of layers.flat()) {
    if (mixer.kind !== "mlp" || mixer.activation === (isGemma ? "gelu-tanh" : "silu")) continue;
    refuse(`activation ${mixer.activation}`);
  }
  const byWidth = layers.length === GEMMA_27B[architecture];
  const usual = 1 / Math.sqrt(byWidth ? Math.floor(hiddenSize / heads) : headSize);
  if (architecture !== "granite" && Math.abs(scale / usual - 1) > 1e-6) refuse(`attention scale ${scale}`);
  if (isGemma || ["qwen3", "olmo2", "smollm3"].includes(architecture)) {
    if (qkvBias !== undefined || output.bias !== undefined) refuse("biases of attention");
  }
  if (
    ["smollm3", "seed_oss"].includes(architecture) &&
    layers.flat().some(({ mixer }) => mixer.kind !== "experts" && mixer.output.bias !== undefined)
  ) {
    refuse("biases of outputs");
  }
  // Every fourth layer of SmolLM3 is without rope there.
  if (attentions.some(({ rope }, layer) => architecture === "smollm3" && (rope === 1) !== (layer % 4 === 3))) {
    refuse("which layers have no rope");
  }
  if (architecture === "gemma2") {
    if (config.head !== undefined) refuse("an output matrix of its own");
    if (softcap === undefined || config.logitSoftcap === undefined) refuse("no soft caps");
  }
  if (["phi3", "olmo2", "granite"].includes(architecture) && headSize * heads !== hiddenSize) {
    refuse(`heads of ${headSize} elements`);
  }
  if (architecture === "olmo2" && config.head === undefined) refuse("an embedding that is the output matrix as well");
  checkRopes(config, refuse);
  const windows = attentions.map(({ window }) => window);
  const period = PERIODS[architecture];
  if (period !== undefined) {
    if (windows.some((window, layer) => (window === Infinity) !== ((layer + 1) % period === 0))) {
      refuse("which layers have a sliding window");
    }
    return [];
  }
  const least = Math.min(...windows);
  if (least >= contextLength) return notesOnRope(config);
  const note = `llama.cpp attends to everything: texts longer than the sliding window of ${least} tokens differ`;
  return [note, ...notesOnRope(config)];
}

function checkRopes({ architecture, ropes }: DecoderConfig, refuse: (what: string) => never): void {
  for (const [index, { scaling, theta }] of ropes.entries()) {
    const { kind } = scaling;
    const isSliding = index > 0;
    if ((kind === "longrope") !== (architecture === "phi3") && (kind === "longrope" || kind !== "default")) {
      refuse(`RoPE scaling ${kind}`);
    }
    if (isSliding && kind !== "default" && kind !== "none") refuse(`RoPE scaling ${kind} of sliding layers`);
    if (architecture === "gemma2" && kind !== "default") refuse(`RoPE scaling ${kind}`);
    if (kind === "llama3" && architecture !== "llama" && architecture !== "mistral") refuse("RoPE scaling llama3");
    if (kind === "yarn") {
      const usual = Math.abs(scaling.attentionFactor / yarnTemperature(scaling.factor) - 1) < 1e-6;
      if (!usual || !scaling.truncate) refuse("YaRN with an attention factor of its own, or without truncation");
    }
    if (architecture === "gemma2" && theta !== 10_000) refuse(`RoPE base ${theta}`);
  }
}

function notesOnRope({ ropes }: DecoderConfig): string[] {
  const dynamic = ropes.map(({ scaling }) => scaling).find(({ kind }) => kind === "dynamic");
  if (dynamic?.kind !== "dynamic") return [];
  return [`llama.cpp has no dynamic RoPE: texts longer than ${dynamic.trainedLength} tokens differ`];
}
