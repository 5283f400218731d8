// The template of a command (CONTRIBUTING.md), as a real process runs it.
import { expect, test } from "bun:test";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { sample } from "./testing/spawn.ts";

test("the template of a command counts, for people and as JSON, and fails as every command does", async () => {
  await using folder = await TemporaryFolder.create();
  const file = folder.at("data.jsonl");
  await Bun.write(file, "a\n\nb\n");
  expect(await sample(["count", file])).toEqual({ status: 0, stdout: "2 lines\n", stderr: "1 empty lines left out\n" });
  const { stdout } = await sample(["count", file, "--empty", "--json"]);
  expect(JSON.parse(stdout)).toEqual({ file, lines: 3 });
  const missing = await sample(["count", folder.at("none")]);
  expect([missing.status, missing.stderr]).toEqual([1, expect.stringContaining("none")]);
  expect((await sample(["count", "--help"])).stdout).toContain("count empty lines, too");
});
