import { RandloraError } from "../../files/errors.ts";

/** How the next token is chosen; the names are llama.cpp's. */
export interface SamplingOptions {
  /**
   * Order and meaning. `llama.cpp`: top-p and min-p cut before the temperature, and all penalties look at the prompt's tokens, too.
   * `openai`: they cut after the temperature, as OpenAI's API, transformers and vLLM have it, and presence and frequency count
   * what was generated.
   */
  readonly convention: "llama.cpp" | "openai";
  /** 0: always the best token. */
  readonly temperature: number;
  /** Keep the k best; 0: all. */
  readonly topK: number;
  /** Keep the fewest best tokens that have this much of the probability together; 1: all. */
  readonly topP: number;
  /** Keep tokens with at least this share of the best one's probability; 0: all. */
  readonly minP: number;
  /** Divide the positive logits of recent tokens by this and multiply the negative ones; 1: off. */
  readonly repeatPenalty: number;
  /** Subtract from the logits of recent tokens, once, and once for each time they occurred; 0: off. */
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  /** Tokens that count as recent: the last ones. */
  readonly penaltyWindow: number;
  /** Same seed, same text. */
  readonly seed: number;
}

/** llama.cpp's defaults, without its repetition penalty of old. */
export const DEFAULT_SAMPLING: SamplingOptions = {
  convention: "llama.cpp",
  temperature: 0.8,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  repeatPenalty: 1,
  presencePenalty: 0,
  frequencyPenalty: 0,
  penaltyWindow: 64,
  seed: 0,
};

/** Above it, texts are noise; OpenAI's limit. */
export const MAX_TEMPERATURE = 2;

/**
 * The seed that was asked for; where none was (undefined, or negative as llama.cpp has it) another each time.
 * @param seed below 2^64: of one that is too large for the numbers that follow each other, its upper 53 bits
 */
export function chosenSeed(seed: number | undefined): number {
  if (seed !== undefined && seed > Number.MAX_SAFE_INTEGER) return Number(BigInt(seed) >> 11n);
  if (seed !== undefined && seed >= 0) return seed;
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}

/** Tokens by falling logit. */
export interface Candidates {
  readonly ids: readonly number[];
  readonly logits: readonly number[];
}

/** Tokens with their probabilities, which add up to 1. */
export interface Distribution {
  readonly ids: readonly number[];
  readonly probabilities: readonly number[];
}

/** Do the options look at what was said before? */
export function hasPenalties({ repeatPenalty, presencePenalty, frequencyPenalty }: SamplingOptions): boolean {
  return repeatPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
}

/** A number that f32 holds; no model means larger ones. */
const LARGEST = 1e38;

/**
 * Lowers the logits of tokens that occurred, in place.
 * @param promptLength how many of the tokens are the prompt's
 */
export function penalise(
  logits: Float32Array,
  tokens: readonly number[],
  options: SamplingOptions,
  promptLength = 0,
): void {
  const { convention, repeatPenalty, presencePenalty, frequencyPenalty, penaltyWindow } = options;
  const first = Math.max(0, tokens.length - penaltyWindow);
  const counted = convention === "openai" ? promptLength : first;
  const counts = new Map<number, number>();
  for (let at = first; at < tokens.length; at++) {
    const token = tokens[at] ?? 0;
    counts.set(token, (counts.get(token) ?? 0) + (at < counted ? 0 : 1));
  }
  for (const [token, count] of counts) {
    const logit = logits[token];
    // What a filter ruled out stays out.
    if (logit === undefined || logit === -Infinity) continue;
    const repeated = logit > 0 ? logit / repeatPenalty : logit * repeatPenalty;
    const penalised = count === 0 ? repeated : repeated - presencePenalty - count * frequencyPenalty;
    // Infinite ones would leave no probabilities.
    logits[token] = Math.max(-LARGEST, Math.min(penalised, LARGEST));
  }
}

/** So many are found one by one; where more are kept, every new one moves too many, and all are sorted. */
const FEW = 256;

/**
 * All tokens by falling logit, of equal ones the lower id first; only the k best when k is not 0.
 * @param logits no NaN; of 2^21 tokens at most
 */
export function rank(logits: Float32Array, k: number): Candidates {
  const ids = k > 0 && k <= FEW ? best(logits, k) : sorted(logits).slice(0, k === 0 ? undefined : k);
  return { ids, logits: ids.map((id) => logits[id] ?? -Infinity) };
}

/** As numbers that hold both, the logit's place among all f32 before the id: those are sorted natively. */
function sorted(logits: Float32Array): number[] {
  const ids = 2 ** 21;
  const bits = new Int32Array(logits.buffer, logits.byteOffset, logits.length);
  // Of negative numbers the bits count the other way, from −0 down.
  const keys = Float64Array.from(bits, (one, id) => (one < 0 ? one & 0x7fffffff : -one) * ids + id);
  return Array.from(keys.toSorted(), (key) => key - Math.floor(key / ids) * ids);
}

/** The k best in one pass: nearly every token of a vocabulary loses against the worst of those kept so far. */
function best(logits: Float32Array, k: number): number[] {
  const ids: number[] = [];
  for (const [id, logit] of logits.entries()) {
    if (ids.length === k && logit <= (logits[ids[k - 1] ?? 0] ?? 0)) continue;
    let low = 0;
    for (let high = ids.length; low < high;) {
      const middle = (low + high) >> 1;
      if ((logits[ids[middle] ?? 0] ?? 0) >= logit) low = middle + 1;
      else high = middle;
    }
    ids.splice(low, 0, id);
    if (ids.length > k) ids.pop();
  }
  return ids;
}

/** The temperature of the probabilities that top-p and min-p look at. */
function cuttingTemperature({ convention, temperature }: SamplingOptions): number {
  return convention === "openai" && temperature > 0 ? temperature : 1;
}

/**
 * Cuts the candidates down (top-k, then top-p, then min-p) and turns what is left into probabilities at the temperature.
 * The best token always stays. Temperature 0 leaves it alone.
 */
export function distribution({ ids, logits }: Candidates, options: SamplingOptions): Distribution {
  const { temperature, topK, topP, minP } = options;
  let count = temperature === 0 ? 1 : topK > 0 ? Math.min(topK, ids.length) : ids.length;
  const plain = softmax(logits.slice(0, count), cuttingTemperature(options));
  if (topP < 1) {
    let sum = 0;
    const enough = plain.findIndex((probability) => (sum += probability) >= topP);
    if (enough !== -1) count = enough + 1;
  }
  const least = minP * (plain[0] ?? 0);
  while (count > 1 && (plain[count - 1] ?? 0) < least) count -= 1;
  return {
    ids: ids.slice(0, count),
    probabilities: softmax(logits.slice(0, count), temperature === 0 ? 1 : temperature),
  };
}

/** Top-p looks for its last token among those whose exponents differ by less than one of these. */
const BINS_AN_EXPONENT = 64;
const BINS = 64 * BINS_AN_EXPONENT;

/**
 * As {@link distribution} without top-k, of all tokens by id: nothing is sorted but, for top-p, the few around its end.
 * @param logits no NaN, not all −Infinity
 */
export function wholeDistribution(logits: Float32Array, options: SamplingOptions): Distribution {
  const { temperature, topP, minP } = options;
  const cutting = cuttingTemperature(options);
  let most = -Infinity;
  for (const logit of logits) if (logit > most) most = logit;
  const isKept = topP < 1 ? topCut(logits, most, cutting, topP) : () => true;
  const least = minP === 0 ? -Infinity : most + cutting * Math.log(minP);
  const ids: number[] = [];
  const weights: number[] = [];
  let sum = 0;
  // Pairs of numbers and logits, or a copy of the weights, would be megabytes of garbage for each token.
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] ?? NaN;
    if (logit === -Infinity || (logit !== most && (logit < least || !isKept(id, logit)))) continue;
    const weight = Math.exp((logit - most) / temperature);
    ids.push(id);
    weights.push(weight);
    sum += weight;
  }
  for (let at = 0; at < weights.length; at++) weights[at] = (weights[at] ?? NaN) / sum;
  return { ids, probabilities: weights };
}

/** Which tokens are the fewest best ones that have `topP` of the probability together. */
function topCut(
  logits: Float32Array,
  most: number,
  temperature: number,
  topP: number,
): (id: number, logit: number) => boolean {
  const binOf = (logit: number): number =>
    Math.min(BINS - 1, Math.floor(((most - logit) / temperature) * BINS_AN_EXPONENT));
  const weightOf = (logit: number): number => Math.exp((logit - most) / temperature);
  const masses = new Float64Array(BINS);
  for (const logit of logits) {
    const bin = binOf(logit);
    masses[bin] = (masses[bin] ?? 0) + weightOf(logit);
  }
  const wanted = topP * masses.reduce((sum, mass) => sum + mass, 0);
  let sum = 0;
  let last = 0;
  while (last < BINS - 1 && sum + (masses[last] ?? 0) < wanted) sum += masses[last++] ?? 0;
  const edge: number[] = [];
  for (let id = 0; id < logits.length; id++) if (binOf(logits[id] ?? 0) === last) edge.push(id);
  edge.sort((one, other) => (logits[other] ?? 0) - (logits[one] ?? 0));
  const enough = edge.findIndex((id) => (sum += weightOf(logits[id] ?? 0)) >= wanted);
  const kept = new Set(enough === -1 ? edge : edge.slice(0, enough + 1));
  return (id, logit) => {
    const bin = binOf(logit);
    return bin < last || (bin === last && kept.has(id));
  };
}

/** The token at `u` (0 ≤ u < 1) of the distribution's cumulative sum. */
export function pick({ ids, probabilities }: Distribution, u: number): number {
  let sum = 0;
  const index = probabilities.findIndex((probability) => (sum += probability) > u);
  const token = ids.at(index); // -1, the last, when rounding left the sum below u
  if (token === undefined) throw new RangeError("no tokens to pick from");
  return token;
}

/** @throws RandloraError `usage` naming the value that makes no sense */
export function checkSampling(options: SamplingOptions): SamplingOptions {
  const rules: readonly (readonly [
    Exclude<keyof SamplingOptions, "convention">,
    (value: number) => boolean,
    string,
  ])[] = [
    ["temperature", (value) => value >= 0 && value <= MAX_TEMPERATURE, `0 to ${MAX_TEMPERATURE}`],
    ["topK", (value) => Number.isInteger(value) && value >= 0, "a whole number, 0 or more"],
    ["topP", (value) => value > 0 && value <= 1, "above 0, at most 1"],
    ["minP", (value) => value >= 0 && value <= 1, "0 to 1"],
    ["repeatPenalty", (value) => value > 0 && value < Infinity, "above 0"],
    ["presencePenalty", Number.isFinite, "a number"],
    ["frequencyPenalty", Number.isFinite, "a number"],
    ["penaltyWindow", (value) => Number.isInteger(value) && value >= 0, "a whole number, 0 or more"],
    ["seed", Number.isSafeInteger, "a whole number"],
  ];
  for (const [name, holds, rule] of rules) {
    const value = options[name];
    if (!holds(value)) throw new RandloraError("usage", `sampling: ${name} is ${value}; it must be ${rule}`);
  }
  return options;
}

function softmax(logits: readonly number[], temperature: number): number[] {
  const top = logits[0] ?? 0; // the largest comes first
  const weights = logits.map((logit) => Math.exp((logit - top) / temperature));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}
