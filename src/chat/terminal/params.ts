import { RandloraError } from "../../files/errors.ts";
import { checkSampling, chosenSeed, type SamplingOptions } from "../generation/sampling.ts";
import type { SessionSettings } from "../session.ts";
import { nearest } from "../../files/nearest.ts";

/** The sampling options by their names on the command line. */
const SAMPLING = {
  temperature: "temperature",
  "top-k": "topK",
  "top-p": "topP",
  "min-p": "minP",
  "repeat-penalty": "repeatPenalty",
  "presence-penalty": "presencePenalty",
  "frequency-penalty": "frequencyPenalty",
  seed: "seed",
} as const satisfies Readonly<Record<string, keyof SamplingOptions>>;

const NAMES = [...Object.keys(SAMPLING), "max-tokens"];

/** `/params`: every setting as it is, a row each. */
export function paramRows({ sampling, maxTokens }: SessionSettings): string[][] {
  const rows = Object.entries(SAMPLING).map(([name, key]) => [name, String(sampling[key])]);
  return [...rows, ["max-tokens", maxTokens === undefined ? "up to the context's end" : String(maxTokens)]];
}

/**
 * `/params NAME VALUE`: changes one setting.
 * @throws RandloraError `usage` for an unknown name or a value that makes no sense; nothing is changed then
 */
export function setParam(settings: SessionSettings, name: string, text: string): void {
  const value = Number(text);
  if (text.trim() === "" || Number.isNaN(value)) {
    throw new RandloraError("usage", `${name}: ${text === "" ? "no value" : `${text} is no number`}`, usage());
  }
  if (name === "max-tokens") {
    if (!Number.isInteger(value) || value < 1) throw new RandloraError("usage", "max-tokens must be 1 or more");
    settings.maxTokens = value;
    return;
  }
  const key = Object.entries(SAMPLING).find(([known]) => known === name)?.[1];
  if (key === undefined) {
    const meant = nearest(name, NAMES);
    throw new RandloraError("usage", `no setting is called ${name}`, meant === undefined ? usage() : `${meant}?`);
  }
  // As on the command line: -1 is a new one.
  const wanted = key === "seed" && Number.isInteger(value) ? chosenSeed(value) : value;
  settings.sampling = checkSampling({ ...settings.sampling, [key]: wanted });
}

function usage(): string {
  return `/params NAME VALUE, where NAME is ${NAMES.join(", ")}`;
}
