import { describe, expect, test } from "bun:test";
import { RandloraError } from "../../files/errors.ts";
import { parse } from "./parse.ts";
import { sample } from "./testing/sample.ts";

const style = { columns: 100, bold: (text: string) => text, dim: (text: string) => text };

function read(...argv: string[]) {
  const request = parse(sample, argv, style);
  if (request.kind !== "run") throw new Error(`asked for ${request.kind}`);
  return { path: request.path, positionals: request.positionals, given: Object.fromEntries(request.given) };
}

function refusal(...argv: string[]): string[] {
  try {
    parse(sample, argv, style);
  } catch (error) {
    if (error instanceof RandloraError) return [error.code, error.message, error.hint];
    throw error;
  }
  return [];
}

describe("refuses", () => {
  test("a flag with a value, naming both ways to write it", () => {
    expect(refusal("mix", "a", "b", "--force=false")).toEqual([
      "usage",
      "option '--force' takes no value",
      "write --force, or --no-force",
    ]);
    expect(refusal("mix", "a", "b", "--no-special=yes").at(-1)).toBe("write --no-special, or --special");
    expect(refusal("mix", "a", "b", "--json=1").at(1)).toBe("option '--json' takes no value");
  });

  test("an empty argument, by its name", () => {
    const [code, message, hint] = refusal("mix", "a", "");
    expect([code, hint]).toEqual(["usage", "is a variable of the shell not set?"]);
    expect(message).toMatch(/^argument '[A-Z]+' is empty$/);
    expect(refusal("mix", "", "b")[1]).not.toBe(message);
  });
});

describe("reads", () => {
  test("arguments, values in every spelling, and repeated options in their order", () => {
    expect(read("mix", "a", "--scale", "-1", "b", "--scale=2", "-ptext", "c", "--max-shard-size", "7")).toEqual({
      path: ["mix"],
      positionals: [["a"], ["b", "c"]],
      given: { scale: ["-1", "2"], prompt: ["text"], maxShardSize: ["7"] },
    });
  });

  test("general options before and after the command, and commands within commands", () => {
    expect(read("--quiet", "show", "work", "--json")).toEqual({
      path: ["show", "work"],
      positionals: [],
      given: { quiet: ["true"], json: ["true"] },
    });
  });

  test("a flag and its opposite, the last one deciding", () => {
    expect(read("mix", "a", "b", "--no-special", "--special", "--force", "--no-force").given).toEqual({
      noSpecial: ["true", "false"],
      force: ["true", "false"],
    });
  });

  test("an option's value is never taken for an option", () => {
    expect(read("mix", "a", "b", "-p", "--json", "--stop", "--help").given).toEqual({
      prompt: ["--json"],
      stop: ["--help"],
    });
  });

  test("a value that may be left out, and everything after --", () => {
    expect(read("mix", "a", "--resume", "--", "--force", "-x")).toEqual({
      path: ["mix"],
      positionals: [["a"], ["--force", "-x"]],
      given: { resume: [] },
    });
  });
});

describe("refuses, naming the nearest", () => {
  test("unknown options and commands", () => {
    expect(refusal("mix", "a", "b", "--dtpye", "f32")).toEqual([
      "usage",
      "unknown option '--dtpye'",
      "did you mean --dtype?",
    ]);
    expect(refusal("mxi")).toEqual(["usage", "unknown command 'mxi'", "did you mean mix?"]);
    expect(refusal("show", "wrok")).toEqual(["usage", "unknown command 'wrok'", "did you mean work?"]);
    expect(refusal("--verison")).toEqual(["usage", "unknown option '--verison'", "did you mean --version?"]);
  });

  test("a command that does not exist, asked for help", () => {
    const unknown = ["usage", "unknown command 'mxi'", "did you mean mix?"];
    for (const argv of [
      ["mxi", "--help"],
      ["mxi", "-h", "x"],
      ["--device", "0", "mxi", "--help"],
      ["help", "mxi"],
    ]) {
      expect(refusal(...argv)).toEqual(unknown);
    }
    expect(refusal("show", "wrok", "--help")).toEqual(["usage", "unknown command 'wrok'", "did you mean work?"]);
    expect(refusal("stir", "--help")).toEqual(["usage", "unknown command 'stir'", "did you mean mix?"]);
    expect(refusal("xyzzy")[2]).toBe("one of: mix, fail, walk, wait, pour, say, show, count; see sample --help");
    for (const argv of [
      ["show", "--help"],
      ["show", "--device", "x", "--help"],
      ["--help", "mxi"],
      ["help", "mix"],
    ]) {
      expect(parse(sample, argv, style)).toMatchObject({ kind: "help" });
    }
  });

  test("missing and superfluous words", () => {
    expect(refusal("--json")).toEqual([
      "usage",
      "sample: no command given",
      "one of: mix, fail, walk, wait, pour, say, show, count; see sample --help",
    ]);
    expect(refusal("show")).toEqual(["usage", "sample show: no command given", "one of: work; see sample show --help"]);
    expect(refusal("mix", "a")).toEqual(["usage", "missing required argument 'OTHER'", "see sample mix --help"]);
    expect(refusal("wait", "a")[1]).toBe("too many arguments: wait takes none, and there are 1");
    expect(refusal("fail", "a", "b", "c").slice(1)).toEqual([
      "too many arguments: fail takes 1, and there are 3",
      "see sample fail --help",
    ]);
    const noValue = ["usage", "option '--dtype' needs a value", "write --dtype keep|f32|bf16"];
    expect(refusal("mix", "a", "b", "--dtype")).toEqual(noValue);
    expect(refusal("mix", "a", "b", "-p").slice(1)).toEqual(["option '--prompt' needs a value", "write --prompt TEXT"]);
    expect(refusal("mix", "a", "b", "--threads").at(-1)).toBe("write --threads N");
  });

  test("an option of another program that is an argument here, with the usage", () => {
    expect(refusal("mix", "--base-model", "a", "b").slice(1)).toEqual([
      "unknown option '--base-model'",
      "BASE stands alone: sample mix BASE OTHER…",
    ]);
    expect(refusal("wait", "--model", "a").at(-1)).toBe("see sample wait --help");
  });

  test("an option of one dash and several letters, which is no short one with its value", () => {
    const unknown = (name: string, hint: string) => ["usage", `unknown option '${name}'`, hint];
    for (const words of [["-ngl", "99"], ["-ngl=99"], ["-ngl"]]) {
      expect(refusal("mix", "a", "b", ...words)).toEqual(unknown("-ngl", "did you mean --device?"));
    }
    expect(refusal("mix", "a", "b", "-nkvo")).toEqual(unknown("-nkvo", "see sample mix --help"));
    // What may be a value is one.
    expect(read("mix", "a", "b", "-n5", "-pngl").given).toEqual({ maxShardSize: ["5"], prompt: ["ngl"] });
    expect(read("mix", "a", "b", "-p", "-ngl").given).toEqual({ prompt: ["-ngl"] });
  });
});

describe("help", () => {
  test("says what the command is, shows one example, then options by topic with defaults, and says once how else they are set", () => {
    const request = parse(sample, ["mix", "--help"], style);
    if (request.kind !== "help") throw new Error("no help");
    const lines = request.text.split("\n");
    const usage = "Usage: sample mix BASE OTHER… [options]";
    const { summary = "" } = sample.commands.find((one) => one.name === "mix") ?? {};
    const example = ["Example:", "  sample mix base one two --scale 0.5"];
    expect(lines.slice(0, 6)).toEqual([summary, "", usage, "", ...example]);
    const headings = lines.filter((line) => /^\w+:$/.test(line));
    expect(headings).toEqual(["Example:", "Arguments:", "Output:", "Mixing:"]);
    expect(lines).toContain("  --dtype keep|f32|bf16     number format of the result [default: keep]");
    expect(request.text).not.toContain("--no-force");
    expect(request.text.match(/RANDLORA_/g)).toHaveLength(1);
    expect(request.text).not.toContain("--help-all");
  });

  test.each([[["--help"]], [["help"]], [["-h"]], [[]]])("of the program lists its commands: %p", (argv) => {
    const request = parse(sample, argv, style);
    expect(request).toMatchObject({ kind: "help" });
    for (const { name, summary } of sample.commands) {
      expect(request.kind === "help" ? request.text : "").toMatch(new RegExp(`^  ${name} +${summary}$`, "m"));
    }
  });

  test("fits the terminal", () => {
    const request = parse(sample, ["mix", "--help"], { ...style, columns: 60 });
    const widths = (request.kind === "help" ? request.text : "").split("\n").map((line) => Bun.stringWidth(line));
    expect(Math.max(...widths)).toBeLessThanOrEqual(60);
  });

  test("needs no arguments, and neither does the version", () => {
    expect(parse(sample, ["mix", "--version"], style)).toEqual({ kind: "version", text: "1.2.3\n" });
    expect(parse(sample, ["-V"], style)).toEqual({ kind: "version", text: "1.2.3\n" });
  });
});
