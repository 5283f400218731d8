import { describe, expect, test } from "bun:test";
import type { Dirent } from "node:fs";
import { link, mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Publication, type PublicationOptions } from "./publish.ts";
import { modelFolderObjection } from "./model-files.ts";
import { createLocked } from "./lock.ts";
import { ownerName, self } from "./owner.ts";
import { holdElsewhere } from "./testing/lock.ts";
import { TemporaryFolder, refusalOf } from "./testing/folder.ts";

const text = (path: string) => readFile(path, "utf8");
const names = async (path: string) => (await readdir(path)).toSorted();

/** Publishes `content`: as the file itself, or as a file in the folder. */
async function publish(path: string, content: string, options: PublicationOptions): Promise<void> {
  await using output = await Publication.begin(path, options);
  await writeFile(options.kind === "file" ? output.partPath : join(output.partPath, "file"), content);
  await output.commit();
}

const read = (path: string, kind: "file" | "folder") => text(kind === "file" ? path : join(path, "file"));

for (const kind of ["file", "folder"] as const) {
  describe(`a ${kind}`, () => {
    test("appears only when it is complete, with nothing beside it", async () => {
      await using folder = await TemporaryFolder.create();
      {
        await using output = await Publication.begin(folder.at("out"), { kind });
        expect(output.target).toBe(folder.at("out"));
        expect(await names(folder.path)).toEqual([expect.stringMatching(/^out\.[\da-f]{12}-\d+-\d+\.part$/)]);
        await writeFile(kind === "file" ? output.partPath : join(output.partPath, "file"), "new");
        await output.commit();
      }
      expect(await names(folder.path)).toEqual(["out"]);
      expect(await read(folder.at("out"), kind)).toBe("new");
    });

    test("that others write alike at the same time is the first one's, and nobody fails", async () => {
      await using folder = await TemporaryFolder.create();
      const path = folder.at("out");
      const other = await holdElsewhere(folder.at("out.OWNER.part"), kind);
      await using first = await Publication.begin(path, { kind, alike: true });
      const write = async ({ partPath }: Publication, content: string) =>
        await writeFile(kind === "file" ? partPath : join(partPath, "file"), content);
      await write(first, "first");
      await first.commit();
      // It is there, and another process is still at it.
      await publish(path, "second", { kind, alike: true });
      expect(await read(path, kind)).toBe("first");
      expect(await names(folder.path)).toEqual(["out", basename(other.path)].toSorted());
      await other.kill();
      // What dead ones left goes, as always.
      await publish(path, "third", { kind, alike: true, force: true });
      expect(await names(folder.path)).toEqual(["out"]);
      expect(await read(path, kind)).toBe("third");
    });

    test("leaves no trace when it is aborted, or when the work throws, folders above it included", async () => {
      await using folder = await TemporaryFolder.create();
      const path = folder.at("new", "newer", "out");
      const failed = async () => {
        await using output = await Publication.begin(path, { kind });
        if (kind === "folder") await writeFile(join(output.partPath, "half"), "x");
        throw new Error("no more");
      };
      expect(String(await failed().catch((thrown: unknown) => thrown))).toBe("Error: no more");
      const output = await Publication.begin(path, { kind });
      await output.abort();
      await output.abort();
      expect(await names(folder.path)).toEqual([]);
    });

    test("creates the folders above it", async () => {
      await using folder = await TemporaryFolder.create();
      await publish(folder.at("new", "newer", "out"), "x", { kind });
      expect(await read(folder.at("new", "newer", "out"), kind)).toBe("x");
    });

    test("does not replace what exists, before or meanwhile, unless it is told to", async () => {
      await using folder = await TemporaryFolder.create();
      const path = folder.at("out");
      await publish(path, "old", { kind });
      const refusal = await refusalOf(() => publish(path, "new", { kind }));
      expect([refusal.code, refusal.message]).toEqual(["file", `cannot write ${path}: it exists already`]);
      expect(refusal.hint).toContain("--force");
      await publish(path, "new", { kind, force: true });
      expect(await read(path, kind)).toBe("new");

      const late = folder.at("late");
      await using output = await Publication.begin(late, { kind });
      await (kind === "file" ? writeFile(late, "theirs") : mkdir(late));
      if (kind === "folder") await writeFile(join(late, "file"), "theirs");
      expect((await refusalOf(() => output.commit())).message).toEndWith("it exists already");
      expect(await read(late, kind)).toBe("theirs");
      expect(await names(folder.path)).toEqual(["late", "out"]);
    });

    test("is not its input, by whatever name", async () => {
      await using folder = await TemporaryFolder.create();
      const input = folder.at("input");
      await publish(input, "x", { kind });
      await symlink(input, folder.at("link"));
      await symlink(folder.path, folder.at("up"));
      const paths = [input, folder.at("link"), folder.at("up", "input"), folder.at(".", "none", "..", "input")];
      if (kind === "file") {
        await link(input, folder.at("hard"));
        paths.push(folder.at("hard"));
      }
      for (const path of paths) {
        for (const force of [false, true]) {
          const refusal = await refusalOf(() => Publication.begin(path, { kind, force, inputs: [input] }));
          expect(refusal.message).toEndWith(`: it is the input ${input}`);
        }
      }
      expect(await read(input, kind)).toBe("x");
    });

    test("is refused below a file, over the other kind, and under a name that is too long", async () => {
      await using folder = await TemporaryFolder.create();
      await writeFile(folder.at("file"), "x");
      await mkdir(folder.at("folder"));
      const other = kind === "file" ? "folder" : "file";
      const cases: [path: string, cause: RegExp][] = [
        [folder.at("file", "out"), /file\/out: a part of this path is a file, not a folder$/],
        [folder.at("file", "deep", "out"), /a part of this path is a file, not a folder$/],
        [folder.at(other), new RegExp(`it exists and is not a ${kind}$`)],
        [folder.at("x".repeat(250)), /the name is too long$/],
      ];
      for (const [path, cause] of cases) {
        const refusal = await refusalOf(() => Publication.begin(path, { kind, force: true }));
        expect([refusal.code, refusal.message]).toEqual(["file", expect.stringMatching(cause)]);
        expect(refusal.message).toStartWith(`cannot write ${folder.path}`);
      }
      expect(await names(folder.path)).toEqual(["file", "folder"]);
    });

    test("is refused while another process writes it; what a dead one left is removed", async () => {
      await using folder = await TemporaryFolder.create();
      const holder = await holdElsewhere(folder.at("out.OWNER.part"), kind);
      await utimes(holder.path, new Date(0), new Date(0));
      if (kind === "folder") await mkdir(join(holder.path, "deep"));
      await writeFile(folder.at("out.part"), "somebody else's");
      const refusal = await refusalOf(() => Publication.begin(folder.at("out"), { kind }));
      expect(refusal.message).toEndWith(`out: process ${holder.pid} is writing it`);
      expect(await names(folder.path)).toContain(basename(holder.path));
      await holder.kill();
      await publish(folder.at("out"), "x", { kind });
      expect(await names(folder.path)).toEqual(["out", "out.part"]);
    });

    test("leaves files alone that are named alike, and follows no link at its own name", async () => {
      await using folder = await TemporaryFolder.create();
      await writeFile(folder.at("out.2024-12.part"), "mine");
      await publish(folder.at("out"), "x", { kind });
      expect(await names(folder.path)).toEqual(["out", "out.2024-12.part"]);
      await symlink("out.2024-12.part", folder.at(`new.${ownerName(self())}.part`));
      await expect(
        createLocked(folder.at(`new.${ownerName(self())}.part`), () => mkdir(folder.at("out"))),
      ).rejects.toThrow("EEXIST");
      expect(await text(folder.at("out.2024-12.part"))).toBe("mine");
    });

    test("may replace what a process that nobody here knows left on a disk of this machine alone", async () => {
      await using folder = await TemporaryFolder.create();
      const left = folder.at("out.00000000-999999999-1.part");
      await (kind === "file" ? writeFile(left, "half") : mkdir(left));
      await publish(folder.at("out"), "x", { kind });
      expect(await names(folder.path)).toEqual(["out"]);
    });

    test("cannot be committed twice, nor after it was aborted", async () => {
      await using folder = await TemporaryFolder.create();
      const output = await Publication.begin(folder.at("out"), { kind });
      await output.commit();
      expect(await output.commit().catch((thrown: unknown) => String(thrown))).toContain("already");
      await output.abort();
      expect(await names(folder.path)).toEqual(["out"]);
    });
  });
}

describe("a replaced folder", () => {
  test("that was set aside by a process that died then is brought back", async () => {
    await using folder = await TemporaryFolder.create();
    const dead = { ...self(), start: self().start - 1 };
    const left = `out.${ownerName(process.platform === "linux" ? dead : { ...dead, pid: 2 ** 22 + 1 })}`;
    await mkdir(folder.at(`${left}.old.part`));
    await writeFile(folder.at(`${left}.old.part`, "file"), "old");
    await mkdir(folder.at(`${left}.part`));
    const refusal = await refusalOf(() => Publication.begin(folder.at("out"), { kind: "folder" }));
    expect(refusal.message).toEndWith("it exists already");
    expect(await names(folder.path)).toEqual(["out"]);
    expect(await text(folder.at("out", "file"))).toBe("old");
    // One that died a moment later has put the new one in place.
    await mkdir(folder.at(`${left}.old.part`));
    await writeFile(folder.at(`${left}.old.part`, "file"), "older");
    await (await Publication.begin(folder.at("out"), { kind: "folder", force: true })).abort();
    expect(await names(folder.path)).toEqual(["out"]);
    expect(await text(folder.at("out", "file"))).toBe("old");
  });

  test("may hold neither an input nor the current folder", async () => {
    await using folder = await TemporaryFolder.create();
    await mkdir(folder.at("out", "base"), { recursive: true });
    await writeFile(folder.at("out", "base", "x"), "x");
    const options = { kind: "folder", force: true, inputs: [folder.at("out", "base", "x")] } as const;
    expect((await refusalOf(() => Publication.begin(folder.at("out"), options))).message).toMatch(
      /it holds the input .*x$/,
    );
    // Links lead out of it, as they do in the Hub's cache, or through it: the input's name is there all the same.
    await mkdir(folder.at("blobs"));
    await writeFile(folder.at("blobs", "y"), "y");
    await symlink(folder.at("blobs", "y"), folder.at("out", "y"));
    await symlink(folder.at("blobs"), folder.at("out", "linked"));
    for (const input of [folder.at("out", "y"), folder.at("out", "linked", "y")]) {
      const refusal = await refusalOf(() => Publication.begin(folder.at("out"), { ...options, inputs: [input] }));
      expect(refusal.message).toEndWith(`it holds the input ${input}`);
    }
    const here = await refusalOf(() => Publication.begin(process.cwd(), { kind: "folder", force: true }));
    expect(here.message).toEndWith("it holds the current folder");
  });

  test("of other files than those it may replace stays", async () => {
    await using folder = await TemporaryFolder.create();
    await mkdir(folder.at("home"));
    const options = { kind: "folder", force: true, objection: modelFolderObjection } as const;
    await (await Publication.begin(folder.at("home"), options)).abort(); // it is empty
    await writeFile(folder.at("home", "letter.txt"), "dear");
    const refusal = await refusalOf(() => Publication.begin(folder.at("home"), options));
    expect(refusal.message).toContain("it exists and is neither a model's folder nor an adapter's");
    expect(await text(folder.at("home", "letter.txt"))).toBe("dear");
    // A folder of many models, one of which lies there loose.
    await writeFile(folder.at("home", "x.safetensors"), "weights");
    const loose = await refusalOf(() => Publication.begin(folder.at("home"), options));
    expect(loose.message).toBe(refusal.message);
    await writeFile(folder.at("home", "config.json"), "{}");
    await rm(folder.at("home", "letter.txt"));
    await (await Publication.begin(folder.at("home"), options)).abort();
    await mkdir(folder.at("home", "other-model"));
    const inside = await refusalOf(() => Publication.begin(folder.at("home"), options));
    expect(inside.message).toContain('it holds "other-model", which the output would not have');
    const known = (entries: readonly Dirent[]) => modelFolderObjection(entries, ["other-model"]);
    await (await Publication.begin(folder.at("home"), { ...options, objection: known })).abort();
    for (const name of ["model.safetensors", "tokenizer.json", "chat.jinja", "README.md", "notes.md"]) {
      await writeFile(folder.at("home", name), "");
    }
    const lost = await refusalOf(() => Publication.begin(folder.at("home"), { ...options, objection: known }));
    expect(lost.message).toContain('it holds "notes.md", which the output would not have');
    expect(await names(folder.path)).toEqual(["home"]);
  });

  test("named by a symbolic link is replaced where it is, and the link stays", async () => {
    await using folder = await TemporaryFolder.create();
    await publish(folder.at("real", "out"), "old", { kind: "folder" });
    await symlink(folder.at("real", "out"), folder.at("link"));
    await publish(folder.at("link"), "new", { kind: "folder", force: true });
    expect(await text(folder.at("real", "out", "file"))).toBe("new");
    expect(await names(folder.path)).toEqual(["link", "real"]);
  });
});

test("a file of an input folder is not overwritten", async () => {
  await using folder = await TemporaryFolder.create();
  await mkdir(folder.at("base"));
  await writeFile(folder.at("base", "model.safetensors"), "weights");
  const options = { kind: "file", force: true, inputs: [folder.at("base")] } as const;
  const refusal = await refusalOf(() => Publication.begin(folder.at("base", "model.safetensors"), options));
  expect(refusal.message).toEndWith(`it is a file of the input ${folder.at("base")}`);
  expect(await text(folder.at("base", "model.safetensors"))).toBe("weights");
});

test("an input that is missing is named", async () => {
  await using folder = await TemporaryFolder.create();
  const inputs = [folder.at("none")];
  const refusal = await refusalOf(() => Publication.begin(folder.at("out"), { kind: "file", inputs }));
  expect(refusal.message).toBe(`cannot read ${folder.at("none")}: no such file or folder`);
  expect(await names(folder.path)).toEqual([]);
});
