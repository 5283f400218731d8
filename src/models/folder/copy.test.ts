import { describe, expect, test } from "bun:test";
import { chmod, lstat, mkdir, readdir, readFile, realpath, symlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { copyModelFiles, namesIn } from "./copy.ts";
import { TemporaryFolder, refusalOf } from "../../files/testing/folder.ts";

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
  await symlink("vision/preprocessor.json", folder.at("base", "generation_config.json"));
  const skip = new Set([folder.at("base", "model.safetensors"), folder.at("base", "merged")]);

  expect(await namesIn(folder.at("base"))).not.toContain("my-run");
  const { weights, notes } = await copyModelFiles(folder.at("base"), folder.at("out"), skip);
  expect([weights.toSorted(), notes]).toEqual([left, []]);
  const found = await Array.fromAsync(new Bun.Glob("**").scan({ cwd: folder.at("out"), dot: true }));
  expect(found.toSorted()).toEqual([...copied, "generation_config.json"].toSorted());
  expect(await readFile(folder.at("out", "vision/preprocessor.json"), "utf8")).toBe("vision/preprocessor.json");
  const linked = folder.at("out", "generation_config.json");
  expect([await readFile(linked, "utf8"), (await lstat(linked)).isFile()]).toEqual(["vision/preprocessor.json", true]);
});

test("of the Hub's cache, a folder of links, copies what lies in the repository's own blobs", async () => {
  await using folder = await TemporaryFolder.create();
  const snapshot = ["hub", "models--org--name", "snapshots", "a".repeat(40)];
  await mkdir(folder.at(...snapshot), { recursive: true });
  for (const repository of ["models--org--name", "models--org--other"]) {
    await mkdir(folder.at("hub", repository, "blobs"), { recursive: true });
    await writeFile(folder.at("hub", repository, "blobs", "hash"), repository);
  }
  await symlink("../../blobs/hash", folder.at(...snapshot, "tokenizer.json"));
  await symlink("../../blobs/hash", folder.at(...snapshot, "README.md"));
  await symlink("../../../models--org--other/blobs/hash", folder.at(...snapshot, "notes.txt"));
  const { files, notes } = await copyModelFiles(folder.at(...snapshot), folder.at("out"), new Set());
  expect(files.map(({ path }) => path)).toEqual(["README.md", "tokenizer.json"]);
  expect(await readFile(folder.at("out", "tokenizer.json"), "utf8")).toBe("models--org--name");
  const other = await realpath(folder.at("hub", "models--org--other", "blobs", "hash"));
  expect(notes).toEqual([`not copied: notes.txt leads out of the model's folder, to ${other}`]);
});

describe.skipIf(process.platform === "win32")("a link out of the model's folder", () => {
  test("is left out with a note, and so are links to folders, pipes and devices", async () => {
    await using folder = await TemporaryFolder.create();
    await fill(folder, ["tokenizer.json", "inner/a.txt", "model.safetensors"]);
    await mkdir(folder.at("private"));
    await writeFile(folder.at("private", "key"), "secret");
    await writeFile(folder.at("base-private"), "secret");
    await symlink("../private/key", folder.at("base", "a\x1b[2J.txt"));
    await symlink("../base-private", folder.at("base", "b.txt"));
    await symlink("inner/../../private/key", folder.at("base", "c.txt"));
    await symlink("c.txt", folder.at("base", "d.txt"));
    await symlink("../../private/key", folder.at("base", "inner", "tokenizer.json"));
    await symlink("../private", folder.at("base", "e"));
    await symlink("inner", folder.at("base", "f"));
    await symlink("/dev/zero", folder.at("base", "g.txt"));
    expect(await Bun.spawn(["mkfifo", folder.at("base", "h.txt")]).exited).toBe(0);
    const { files, notes } = await copyModelFiles(folder.at("base"), folder.at("out"), new Set());
    expect(files.map(({ path }) => path)).toEqual(["inner/a.txt", "tokenizer.json"]);
    const found = await Array.fromAsync(new Bun.Glob("**").scan({ cwd: folder.at("out"), dot: true }));
    expect(found.toSorted()).toEqual(["inner/a.txt", "tokenizer.json"]);
    const top = await realpath(folder.path);
    const out = (path: string, target: string) => `not copied: ${path} leads out of the model's folder, to ${target}`;
    expect(notes).toEqual([
      out("a␛[2J.txt", `${top}/private/key`),
      out("b.txt", `${top}/base-private`),
      out("c.txt", `${top}/private/key`),
      out("d.txt", `${top}/private/key`),
      out("e", `${top}/private`),
      `not copied: f is a link to ${top}/base/inner, a folder`,
      out("g.txt", "/dev/zero"),
      "not copied: h.txt is neither a file nor a folder",
      out("inner/tokenizer.json", `${top}/private/key`),
    ]);
  });

  test.each(["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"])(
    "is refused where the model needs it: %s",
    async (name) => {
      await using folder = await TemporaryFolder.create();
      await fill(folder, ["README.md"]);
      await writeFile(folder.at("key"), "{}");
      await symlink("../key", folder.at("base", name));
      const refusal = await refusalOf(() => copyModelFiles(folder.at("base"), folder.at("out"), new Set()));
      const target = await realpath(folder.at("key"));
      const cause = `it leads out of the model's folder, to ${target}`;
      expect([refusal.code, refusal.message]).toEqual(["file", `${folder.at("base", name)}: ${cause}`]);
      expect(await readdir(folder.at("out"))).toEqual([]);
    },
  );

  test("a pipe is refused there, too", async () => {
    await using folder = await TemporaryFolder.create();
    await fill(folder, ["README.md"]);
    expect(await Bun.spawn(["mkfifo", folder.at("base", "tokenizer.json")]).exited).toBe(0);
    const refusal = await refusalOf(() => copyModelFiles(folder.at("base"), folder.at("out"), new Set()));
    expect(refusal.message).toBe(`${folder.at("base", "tokenizer.json")}: it is neither a file nor a folder`);
  });

  test("links to links in a circle end", async () => {
    await using folder = await TemporaryFolder.create();
    await fill(folder, ["README.md"]);
    await symlink("b", folder.at("base", "a"));
    await symlink("a", folder.at("base", "b"));
    const refusal = await refusalOf(() => copyModelFiles(folder.at("base"), folder.at("out"), new Set()));
    expect(refusal.message).toBe(`cannot read ${folder.at("base", "a")}: symbolic links form a loop`);
  });

  test("folders that link to each other are copied once", async () => {
    await using folder = await TemporaryFolder.create();
    const names = Array.from({ length: 40 }, (_, index) => `${index}/notes.txt`);
    await fill(folder, names);
    for (let index = 0; index + 1 < 40; index++) {
      for (const side of ["left", "right"]) await symlink(`../${index + 1}`, folder.at("base", `${index}`, side));
    }
    const { files } = await copyModelFiles(folder.at("base"), folder.at("out"), new Set());
    expect(files.map(({ path }) => path).toSorted()).toEqual(names.toSorted());
  });
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
