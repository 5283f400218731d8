import { expect, test } from "bun:test";
import { join } from "node:path";
import { TemporaryFolder } from "../testing/folder.ts";
import { mounting } from "../testing/mount.ts";
import { runToEnd } from "../testing/process.ts";

const WRITER = join(import.meta.dir, "testing/writer.ts");
const unshare = mounting();

test.skipIf(unshare === undefined).each(["file", "folder"])(
  "a disk that is full, a tmpfs of 1 MB, is reported with the %s's path; no part stays, and the old output does",
  async (kind) => {
    await using folder = await TemporaryFolder.create();
    const script = `mount -t tmpfs -o size=1m tmpfs "$1" && cd "$1" || exit 9
      "$2" "$3" "$1/out" "$4" once 100000
      "$2" "$3" "$1/out" "$4" replace 5000000; echo "status $?"
      "$2" "$3" "$1/new/other" "$4" once 5000000; echo "status $?"
      find . -name '*.part' -o -name new; ls -A`;
    const command = [...(unshare ?? []), "sh", "-c", script, "sh", folder.path, process.execPath, WRITER, kind];
    const { stdout, stderr } = await runToEnd(command);
    expect(stderr.trim().split("\n")).toEqual(
      ["out", "new/other"].map((name) =>
        expect.stringMatching(new RegExp(`^cannot write ${folder.path}/${name}\\.[-.\\w/]+: the disk is full$`)),
      ),
    );
    expect(stdout.split("\n").filter((line) => line !== "begun")).toEqual(["status 1", "status 1", "out", ""]);
  },
);
