import { expect, test } from "bun:test";
import { chmod, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { refusalOf, TemporaryFolder } from "../safetensors/testing.ts";
import { copyModelFiles, foldersIn } from "./model-files.ts";

async function fill(folder: TemporaryFolder, names: readonly string[]): Promise<void> {
  for (const name of names) {
    await mkdir(dirname(folder.at("base", name)), { recursive: true });
    await writeFile(folder.at("base", name), name);
  }
}

test("copies what belongs to a model, subfolders too, and names the weights it leaves out", async () => {
  await using folder = await TemporaryFolder.create();
  const copied = [
    "README.md",
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer.model",
    "vision/config.json",
    "vision/preprocessor.json",
  ];
  const left = [
    "flax_model.msgpack",
    "model-00001-of-00009.safetensors",
    "model.fp16.gguf",
    "model.safetensors.index.fp16.json",
    "onnx/model.onnx",
    "original/consolidated.00.pth",
    "pytorch_model.bin",
    "rust_model.ot",
    "tf_model.h5",
  ];
  const clutter = [
    ".git/HEAD",
    ".gitattributes",
    ".cache/huggingface/x.lock",
    "out.1-2.part/model.safetensors",
    "runs/a/events",
  ];
  const run = ["my-run/run.json", "my-run/metrics.jsonl", "my-run/model/notes.txt"];
  await fill(folder, [
    ...copied,
    ...left,
    ...clutter,
    ...run,
    "config.json",
    "model.safetensors",
    "merged/config.json",
  ]);
  // A Hub cache is a folder of links to blobs.
  await writeFile(folder.at("blob"), "{}");
  await symlink(folder.at("blob"), folder.at("base", "generation_config.json"));
  const skip = new Set([folder.at("base", "model.safetensors"), folder.at("base", "merged")]);

  expect(await foldersIn(folder.at("base"))).not.toContain("my-run");
  expect((await copyModelFiles(folder.at("base"), folder.at("out"), skip)).toSorted()).toEqual(left);
  const found = await Array.fromAsync(new Bun.Glob("**").scan({ cwd: folder.at("out"), dot: true }));
  expect(found.toSorted()).toEqual([...copied, "generation_config.json"].toSorted());
  expect(await readFile(folder.at("out", "vision/preprocessor.json"), "utf8")).toBe("vision/preprocessor.json");
  expect(await readFile(folder.at("out", "generation_config.json"), "utf8")).toBe("{}");
});

test("names a link that leads nowhere", async () => {
  await using folder = await TemporaryFolder.create();
  await mkdir(folder.at("base"));
  await symlink(folder.at("gone"), folder.at("base", "tokenizer.json"));
  const refusal = await refusalOf(() => copyModelFiles(folder.at("base"), folder.at("out"), new Set()));
  expect(refusal.message).toBe(`cannot read ${folder.at("base", "tokenizer.json")}: no such file or folder`);
  expect(await readdir(folder.at("out"))).toEqual([]);
});

// root may read everything
test.skipIf(process.platform === "win32" || process.getuid?.() === 0)("names a file that may not be read", async () => {
  await using folder = await TemporaryFolder.create();
  await fill(folder, ["tokenizer.json"]);
  await chmod(folder.at("base", "tokenizer.json"), 0);
  const refusal = await refusalOf(() => copyModelFiles(folder.at("base"), folder.at("out"), new Set()));
  expect(refusal.message).toBe(`cannot read ${folder.at("base", "tokenizer.json")}: permission denied`);
});

test("follows a link back to a folder above no further", async () => {
  await using folder = await TemporaryFolder.create();
  await fill(folder, ["tokenizer.json", "inner/notes.txt"]);
  await symlink(folder.at("base"), folder.at("base", "inner", "back"));
  await copyModelFiles(folder.at("base"), folder.at("out"), new Set());
  const found = await Array.fromAsync(new Bun.Glob("**").scan({ cwd: folder.at("out") }));
  expect(found.toSorted()).toEqual(["inner/notes.txt", "tokenizer.json"]);
});
