import { describe, expect, test } from "bun:test";
import { onTerminal, shownLines } from "../testing/terminal.ts";
import { cleanEnvironment } from "../../files/testing/process.ts";
import { sample, SAMPLE } from "./testing/spawn.ts";

const env = cleanEnvironment({ TERM: "xterm-256color" });

describe("on a real terminal", () => {
  test("a bar is redrawn in place, the note and the result stay", async () => {
    const { transcript, status } = await onTerminal([process.execPath, SAMPLE, "show", "work", "--pause", "10"], {
      columns: 90,
      env,
    });
    expect(status).toBe(0);
    expect(transcript).toContain("▕");
    expect(transcript).toContain("tensors");
    expect(shownLines(transcript).filter((line) => line !== "")).toEqual(["warning: half-way", "done"]);
  });

  test("errors are colored, unless NO_COLOR", async () => {
    const command = [process.execPath, SAMPLE, "fail", "format", "--quiet"];
    const colored = await onTerminal(command, { columns: 80, env });
    expect(colored.transcript).toContain("\x1b[31merror:\x1b[39m x.safetensors");
    const plain = await onTerminal(command, { columns: 80, env: { ...env, NO_COLOR: "1" } });
    expect(plain.transcript).toBe("error: x.safetensors: header cut off\r\nhint: fetch the file again\r\n");
    expect([colored.status, plain.status]).toEqual([3, 3]);
  });

  test("help fits it", async () => {
    const { transcript } = await onTerminal([process.execPath, SAMPLE, "mix", "--help"], { columns: 62, env });
    const widths = shownLines(transcript).map((line) => Bun.stringWidth(line));
    expect(Math.max(...widths)).toBeLessThanOrEqual(62);
  });
});

describe("what is quoted steers no terminal", () => {
  const nasty = "a\x1b]0;title\x07\x1b[2J\x1b[8mb\x9b1m\rc\u202ed";
  const shown = "a␛]0;title␇␛[2J␛[8mb\uFFFD1m␍c\uFFFDd";

  test("on a terminal, where the program's own colors stay", async () => {
    const { transcript } = await onTerminal([process.execPath, SAMPLE, "say", nasty], { columns: 200, env });
    expect(transcript.split("\r\n")).toEqual([
      `\x1b[33mwarning:\x1b[39m ${shown}`,
      `\x1b[31m${shown}\x1b[39m`,
      shown,
      `\x1b[31merror:\x1b[39m ${shown}`,
      `\x1b[36mhint:\x1b[39m ${shown}`,
      "",
    ]);
    const wrong = await onTerminal([process.execPath, SAMPLE, nasty], { columns: 200, env });
    expect(wrong.transcript).toContain(`unknown command '${shown}'`);
  });

  test("nor in what goes to stderr; files and pipes get the result as it is", async () => {
    const people = await sample(["say", nasty]);
    expect(people.stdout).toBe(`${nasty}\n${nasty}\n`);
    expect(people.stderr).toBe(`warning: ${shown}\nerror: ${shown}\nhint: ${shown}\n`);
    expect(JSON.parse((await sample(["say", nasty, "--json"])).stdout)).toEqual({ what: nasty });
  });
});

test("through a pipe there are rows, and no control character anywhere", async () => {
  // Longer than a second: quicker work leaves no rows.
  const { stdout, stderr } = await sample(["show", "work", "--pause", "30"]);
  expect(stdout).toBe("done\n");
  expect(stderr).toContain("working:  100 %  40.0 MB of 40.0 MB  40 of 40 tensors");
  for (const control of ["\r", "\x1b"]) expect(stdout + stderr).not.toContain(control);
});
