import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Typist } from "../testing/typist.ts";
import { completionScript } from "./completion.ts";
import { sample } from "./testing/sample.ts";
import { cleanEnvironment } from "../../files/testing/process.ts";

/** What is typed before the tab, and the arguments that the program then gets. */
const LINES: readonly (readonly [typed: string, got: string])[] = [
  ["sample mi", "mix"],
  ["sample show w", "show,work"],
  ["sample mix --dty", "mix,--dtype"],
  ["sample mix --dtype b", "mix,--dtype,bf16"],
  ["sample mix --dtype=b", "mix,--dtype=bf16"],
  ["sample --quiet mix --dtype=k", "--quiet,mix,--dtype=keep"],
  ["sample mix --config goo", "mix,--config,good.yaml"],
  ["sample mix --config=goo", "mix,--config=good.yaml"],
];
/** bash's are in completion.test.ts. */
const RUNS: typeof LINES = [
  ["sample mix runs/f", "mix,runs/first"],
  ["sample mix --resume runs/f", "mix,--resume,runs/first"],
];

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-completion-"));
  await mkdir(join(folder, "functions"));
  await writeFile(join(folder, "good.yaml"), "");
  await mkdir(join(folder, "runs", "first"), { recursive: true });
  await writeFile(join(folder, "runs", "first", "run.json"), "");
  await writeFile(join(folder, "functions", "_sample"), completionScript("zsh", sample));
  for (const shell of ["bash", "zsh", "fish"] as const) {
    await writeFile(join(folder, shell), completionScript(shell, sample));
  }
});
afterAll(() => rm(folder, { recursive: true }));

/** Shells are there where tests are run: `node scripts/setup.mjs --shells`. */
const onUnix = describe.skipIf(process.platform === "win32");
const environment = (): Record<string, string> => {
  // Shells write below these (fish: `.config/fish`, `.local/share/fish`): not into whoever's home runs the tests.
  const own = Object.fromEntries(["CONFIG", "DATA", "STATE", "CACHE"].map((name) => [`XDG_${name}_HOME`, folder]));
  return cleanEnvironment({ PS1: "$ ", HISTFILE: "", HOME: folder, ZDOTDIR: folder, ...own });
};

/** What an interactive shell passes to the program for lines that end with a tab. */
async function got(command: readonly string[], setUp: string, lines: readonly string[]): Promise<string[]> {
  const typist = new Typist(command, { columns: 200, rows: 24, env: environment(), cwd: folder });
  try {
    // The marks are joined by the shell: what is typed does not hold them.
    typist.type(`sample() { local IFS=,; echo "<""<$*>"">"; }; ${setUp}; echo rea''dy\r`);
    await typist.until("ready");
    for (const [index, line] of lines.entries()) {
      typist.type(`${line}\t\r`);
      await typist.until(">>", index + 1);
    }
    return [...typist.transcript.matchAll(/<<([^>"]*)>>/g)].map(([, words = ""]) => words);
  } finally {
    await typist.end();
  }
}

onUnix("completes in a real shell, words and values, after = too", () => {
  const typed = LINES.map(([line]) => line);
  const expected = LINES.map(([, words]) => words);

  test("bash", async () => {
    expect(await got(["bash", "--noprofile", "--norc", "-i"], "source ./bash", typed)).toEqual(expected);
  });

  test("bash that breaks no words at =", async () => {
    const setUp = "source ./bash; COMP_WORDBREAKS=${COMP_WORDBREAKS//=/}";
    const ours = LINES.filter(([line]) => !line.includes("--config="));
    const shell = ["bash", "--noprofile", "--norc", "-i"];
    expect(
      await got(
        shell,
        setUp,
        ours.map(([line]) => line),
      ),
    ).toEqual(ours.map(([, words]) => words));
  });

  const initialize = "autoload -Uz compinit; compinit -u -D";
  test.each([
    ["sourced", `${initialize}; source ./zsh`],
    ["autoloaded from fpath", `fpath=($PWD/functions $fpath); ${initialize}`],
  ])("zsh, %s", async (_, setUp) => {
    const lines = [...LINES, ...RUNS];
    const asked = lines.map(([line]) => line);
    const passed = await got(["zsh", "-f", "-i"], `unsetopt automenu; ${setUp}`, asked);
    expect(passed).toEqual(lines.map(([, words]) => words));
  });

  test("fish", async () => {
    const lines = [...typed, ...RUNS.map(([line]) => line)];
    const asked = lines.map((line) => `complete -C '${line}'; echo ==`).join("; ");
    const child = Bun.spawn(["fish", "--no-config", "-c", `source ./fish; ${asked}`], {
      cwd: folder,
      env: environment(),
      stdout: "pipe",
    });
    // A line an offer: the word, a tab, what it is for.
    const offers = (await child.stdout.text()).split("==\n").slice(0, -1);
    const words = offers.map((text) =>
      text
        .trimEnd()
        .split("\n")
        .map((line) => line.split("\t")[0])
        .join(" "),
    );
    // Beside a run stands its folder, as fish itself offers it.
    const wanted = [
      ...expected.map((line) => line.split(",").at(-1) ?? ""),
      ...RUNS.map(() => "runs/first runs/first/"),
    ];
    expect(words).toEqual(wanted);
  });
});
