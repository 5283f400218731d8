import { mkdir, rename, stat, writeFile } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import train from "../../fixtures/embedded/data/train.jsonl" with { type: "file" };
import valid from "../../fixtures/embedded/data/valid.jsonl" with { type: "file" };
import config from "../../fixtures/embedded/model/config.json" with { type: "file" };
import generationConfig from "../../fixtures/embedded/model/generation_config.json" with { type: "file" };
import weights from "../../fixtures/embedded/model/model.safetensors" with { type: "file" };
import tokenizer from "../../fixtures/embedded/model/tokenizer.json" with { type: "file" };
import tokenizerConfig from "../../fixtures/embedded/model/tokenizer_config.json" with { type: "file" };
import { cacheFolder } from "../hub/cache-folder.ts";
import { besides } from "../safetensors/whole-file.ts";
import { EMBEDDED } from "./embedded-name.ts";

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
  return await unpacked("model", MODEL_FILES);
}

/** The folder of the embedded data, which teach the model to talk like a pirate. */
export async function embeddedData(): Promise<string> {
  return await unpacked("data", DATA_FILES);
}

/**
 * The files as a folder on the disk, for readers that work with ranges: in the cache folder, or in a temporary one
 * where that cannot be written. The folder is named by its content, so another version of the program has its own.
 */
async function unpacked(kind: string, files: Readonly<Record<string, unknown>>): Promise<string> {
  const contents = new Map<string, Uint8Array>();
  const hash = new Bun.CryptoHasher("sha256");
  for (const [name, path] of Object.entries(files)) {
    const bytes = await Bun.file(String(path)).bytes();
    contents.set(name, bytes);
    hash.update(`${name} ${bytes.length} `).update(bytes);
  }
  const name = `${kind}-${hash.digest("hex").slice(0, 16)}`;
  const folder = join(cacheFolder(), EMBEDDED, name);
  return await unpackTo(folder, contents).catch(() =>
    unpackTo(join(tmpdir(), `randlora-${userInfo().uid}`, EMBEDDED, name), contents),
  );
}

async function unpackTo(folder: string, contents: ReadonlyMap<string, Uint8Array>): Promise<string> {
  const complete = await Promise.all(
    Array.from(contents, async ([name, { length }]) => (await sizeOf(join(folder, name))) === length),
  );
  if (complete.every(Boolean)) return folder;
  for (const [name, bytes] of contents) {
    const path = join(folder, name);
    const temporary = besides(path);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(temporary, bytes);
    await rename(temporary, path);
  }
  return folder;
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}
