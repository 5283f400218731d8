import train from "../../../fixtures/embedded/data/train.jsonl" with { type: "file" };
import valid from "../../../fixtures/embedded/data/valid.jsonl" with { type: "file" };
import config from "../../../fixtures/embedded/model/config.json" with { type: "file" };
import generationConfig from "../../../fixtures/embedded/model/generation_config.json" with { type: "file" };
import weights from "../../../fixtures/embedded/model/model.safetensors" with { type: "file" };
import tokenizer from "../../../fixtures/embedded/model/tokenizer.json" with { type: "file" };
import tokenizerConfig from "../../../fixtures/embedded/model/tokenizer_config.json" with { type: "file" };
import { carriedFile } from "../../files/carried.ts";
import { EMBEDDED } from "./locate.ts";
import { unpacked } from "./unpacked.ts";

/** What the folders hold, by name; each is where the program finds the bytes inside itself. */
const MODEL_FILES = {
  "config.json": config,
  "generation_config.json": generationConfig,
  "model.safetensors": weights,
  "tokenizer.json": tokenizer,
  "tokenizer_config.json": tokenizerConfig,
};
const DATA_FILES = { "train.jsonl": train, "valid.jsonl": valid };

/** The folder of the embedded model: a llama of 0.85 million parameters that knows a small island. */
export async function embeddedModel(): Promise<string> {
  return await unpacked(EMBEDDED, "model", await contentsOf(MODEL_FILES), EMBEDDED);
}

/** The folder of the embedded data, which train the model to talk like a pirate. */
export async function embeddedData(): Promise<string> {
  return await unpacked(EMBEDDED, "data", await contentsOf(DATA_FILES), "the embedded data");
}

async function contentsOf(files: Readonly<Record<string, unknown>>): Promise<Map<string, Buffer>> {
  const contents = new Map<string, Buffer>();
  for (const [name, path] of Object.entries(files)) {
    contents.set(name, Buffer.from(await Bun.file(carriedFile(String(path))).arrayBuffer()));
  }
  return contents;
}
