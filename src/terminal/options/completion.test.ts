import { expect, test } from "bun:test";
import { sample } from "./testing/sample.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { completionScript } from "./completion.ts";

/** What bash itself offers for a line with the cursor at its end. */
async function complete(line: string, cwd = import.meta.dir): Promise<string[]> {
  const script = `${completionScript("bash", sample)}
    read -ra COMP_WORDS <<< "$LINE"
    [[ $LINE == *' ' ]] && COMP_WORDS+=('')
    COMP_CWORD=$(( \${#COMP_WORDS[@]} - 1 ))
    _sample
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const child = Bun.spawn(["bash", "-c", script], { cwd, env: { ...process.env, LINE: line }, stdout: "pipe" });
  const words = (await child.stdout.text()).split("\n").filter((word) => word !== "");
  expect(await child.exited).toBe(0);
  return words;
}

test.each([
  ["sample mi", ["mix"]],
  ["sample ", expect.arrayContaining(["mix", "fail", "show"])],
  ["sample --q", ["--quiet"]],
  ["sample show ", expect.arrayContaining(["work"])],
  ["sample show work --pa", ["--pause"]],
  ["sample mix --dt", ["--dtype"]],
  ["sample mix a --dtype ", ["keep", "f32", "bf16"]],
  ["sample mix --dtype b", ["bf16"]],
  ["sample --quiet mix --no-s", ["--no-special"]],
  ["sample mix --prompt ", []],
  ["sample mix ", []],
])("bash completes %p", async (line, words) => {
  expect(await complete(line)).toEqual(words);
});

test("bash completes runs: beside files where a model is named, alone behind --resume", async () => {
  await using folder = await TemporaryFolder.create();
  for (const name of ["runs/one/run.json", "runs/two/run.json", "runs/none/notes.txt", "rules.md"]) {
    await Bun.write(folder.at(name), "{}");
  }
  const runs = ["runs/one", "runs/two"];
  expect(await complete("sample mix --resume ", folder.path)).toEqual(runs);
  expect(await complete("sample mix --resume runs/t", folder.path)).toEqual(["runs/two"]);
  expect((await complete("sample mix r", folder.path)).toSorted()).toEqual(["rules.md", "runs", ...runs]);
  expect(await complete("sample mix x", folder.path)).toEqual([]);
});
