import { rmSync } from "node:fs";
import { lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import train from "../../../fixtures/embedded/data/train.jsonl" with { type: "file" };
import valid from "../../../fixtures/embedded/data/valid.jsonl" with { type: "file" };
import config from "../../../fixtures/embedded/model/config.json" with { type: "file" };
import generationConfig from "../../../fixtures/embedded/model/generation_config.json" with { type: "file" };
import weights from "../../../fixtures/embedded/model/model.safetensors" with { type: "file" };
import tokenizer from "../../../fixtures/embedded/model/tokenizer.json" with { type: "file" };
import tokenizerConfig from "../../../fixtures/embedded/model/tokenizer_config.json" with { type: "file" };
import { RandloraError } from "../../files/errors.ts";
import { cacheFolder } from "../../files/cache-folder.ts";
import { naming } from "../../files/failure.ts";
import { besides } from "../../files/whole-file.ts";
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

/** The folder of the embedded data, which train the model to talk like a pirate. */
export async function embeddedData(): Promise<string> {
  return await unpacked("data", DATA_FILES);
}

/**
 * The files as a folder on the disk, for readers that work with ranges: in the cache folder, or in a temporary one of this
 * process where that cannot be written, or holds what is not ours. The folder is named by its content, so another version of the program has its own.
 */
async function unpacked(kind: string, files: Readonly<Record<string, unknown>>): Promise<string> {
  const contents = new Map<string, Buffer>();
  const hash = new Bun.CryptoHasher("sha256");
  for (const [name, path] of Object.entries(files)) {
    const bytes = Buffer.from(await Bun.file(String(path)).arrayBuffer());
    contents.set(name, bytes);
    hash.update(`${name} ${bytes.length} `).update(bytes);
  }
  const name = `${kind}-${hash.digest("hex").slice(0, 16)}`;
  const folder = join(cacheFolder(), EMBEDDED, name);
  return await unpackTo(folder, contents).catch(async () => unpackTo(join(await ownTemporary(), name), contents));
}

/** Puts in place what is not there byte for byte; a link or a pipe of that name gives way to the file. */
async function unpackTo(folder: string, contents: ReadonlyMap<string, Buffer>): Promise<string> {
  await naming(folder, "write", mkdir(folder, { recursive: true }));
  for (const [name, bytes] of contents) {
    const path = join(folder, name);
    if (await holds(path, bytes)) continue;
    const temporary = besides(path);
    try {
      await naming(path, "write", writeFile(temporary, bytes, { flag: "wx" }));
      await naming(path, "write", rename(temporary, path));
    } finally {
      await rm(temporary, { force: true });
    }
  }
  await refuseStrangers(folder, contents);
  return folder;
}

/** A file beside ours, such as chat_template.jinja, would be taken for a part of the model. */
async function refuseStrangers(folder: string, contents: ReadonlyMap<string, Buffer>): Promise<void> {
  for (const name of await naming(folder, "read", readdir(folder))) {
    // Of a process that is unpacking, or was ended.
    if (contents.has(name) || name.endsWith(".part")) continue;
    throw new RandloraError("file", `${join(folder, name)} is not ours`);
  }
}

async function holds(path: string, bytes: Buffer): Promise<boolean> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isFile() !== true || found.size !== bytes.length) return false;
  return bytes.equals(await naming(path, "read", readFile(path)));
}

let temporary: Promise<string> | undefined;

/** A folder that nobody else can have made, nor can open; it goes with the process. */
async function ownTemporary(): Promise<string> {
  temporary ??= naming(tmpdir(), "write", mkdtemp(join(tmpdir(), `randlora-${EMBEDDED}-`))).then((path) => {
    process.on("exit", () => rmSync(path, { recursive: true, force: true }));
    return path;
  });
  return await temporary;
}
