import { expect, test } from "bun:test";
import { rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { loadConfig } from "../../models/decoder/architectures/index.ts";
import { loadChatTemplate } from "./chat-template.ts";
import { readStopIds } from "./stop.ts";
import { loadTokenizer } from "./load-tokenizer.ts";
import { Tokenizer } from "./tokenizer.ts";
import { readTokenizerConfig } from "../../files/read-text.ts";
import { TemporaryFolder, refusalOf } from "../../files/testing/folder.ts";

const TOKENIZER = { model: { type: "BPE", vocab: { a: 0 }, merges: [] } };

const READERS: Readonly<Record<string, (folder: string) => Promise<unknown>>> = {
  "config.json": (folder) => loadConfig(folder),
  "tokenizer.json": loadTokenizer,
  "tokenizer_config.json": readTokenizerConfig,
  "special_tokens_map.json": readTokenizerConfig,
  "chat_template.jinja": loadChatTemplate,
  "chat_template.json": loadChatTemplate,
  "generation_config.json": async (folder) =>
    readStopIds(folder, new Tokenizer(TOKENIZER, await readTokenizerConfig(folder))),
};

test.skipIf(process.platform === "win32").each(Object.entries(READERS))(
  "%s of a model that is a pipe, a device or nested without end",
  async (name, read) => {
    await using folder = await TemporaryFolder.create();
    const path = join(folder.path, name);
    await symlink("/dev/zero", path);
    const refusal = await refusalOf(() => read(folder.path));
    expect([refusal.code, refusal.message]).toEqual(["file", `cannot read ${path}: this is not a file`]);
    await rm(path);
    await Bun.$`mkfifo ${path}`;
    expect((await refusalOf(() => read(folder.path))).message).toBe(`cannot read ${path}: this is not a file`);
    if (name.endsWith(".jinja")) return;
    await rm(path);
    await Bun.write(path, `{"a":`.repeat(100_000) + `1${"}".repeat(100_000)}`);
    expect((await refusalOf(() => read(folder.path))).message).toStartWith(
      `${path}: its arrays and objects are nested`,
    );
  },
);
