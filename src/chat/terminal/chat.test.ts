import { describe, expect, test } from "bun:test";
import { DEFAULT_SAMPLING } from "../generation/sampling.ts";
import type { SessionSettings } from "../session.ts";
import { createStyle } from "../../terminal/style.ts";
import { RecordingStream } from "../../terminal/testing/terminal.ts";
import { isRepeating, statsLine } from "./chat.ts";
import { type ChatCommand, COMMANDS, helpRows, paramRows, readLine, setParam } from "./commands.ts";
import { TextDisplay } from "./text-display.ts";

const commands: readonly ChatCommand<string[]>[] = [
  { name: "save", value: "FILE", help: "write it", run: (seen, value) => void seen.push(`save ${value}`) },
  { name: "exit", also: ["quit"], help: "leave", run: (seen) => void seen.push("exit") },
];

describe("a line", () => {
  test.each([
    ["hello /save", "hello /save"],
    ["//save x", "/save x"],
    [" /save", " /save"],
    ["", ""],
  ])("%j is a message", (line, text) => expect(readLine(line, commands)).toEqual({ kind: "message", text }));

  test.each([
    ["/save my file.json ", "save my file.json"],
    ["/quit", "exit"],
    ["/save\n a\nb", "save a\nb"],
  ])("%j is a command", async (line, wanted) => {
    const seen: string[] = [];
    const read = readLine(line, commands);
    if (read.kind === "command") await read.command.run(seen, read.value);
    expect(seen).toEqual([wanted]);
  });

  test("an unknown command is a mistake, not a message", () => {
    expect(readLine("/exti now", commands)).toEqual({ kind: "unknown", name: "exti", meant: "exit" });
    expect(readLine("/", commands)).toEqual({ kind: "unknown", name: "", meant: undefined });
  });
});

test("no two commands share a name, and help has a row for each", () => {
  const names = COMMANDS.flatMap(({ name, also = [] }) => [name, ...also]);
  expect(new Set(names).size).toBe(names.length);
  expect(helpRows(commands)).toEqual([
    ["/save FILE", "write it"],
    ["/exit", "leave"],
  ]);
  const promised = "adapter scale system reset retry undo save load read params stats help exit";
  expect(COMMANDS.map(({ name }) => name)).toEqual(promised.split(" "));
});

describe("settings", () => {
  const settings = (): SessionSettings => ({
    sampling: DEFAULT_SAMPLING,
    maxTokens: undefined,
    stops: [],
    context: undefined,
    shift: false,
  });

  test("are shown and changed by the names of the command line", () => {
    const own = settings();
    for (const [name, value] of paramRows(own)) if (name !== "max-tokens") setParam(own, name ?? "", value ?? "");
    expect(own).toEqual(settings());
    setParam(own, "repeat-penalty", "1.1");
    setParam(own, "max-tokens", "20");
    expect(own).toMatchObject({ maxTokens: 20, sampling: { ...DEFAULT_SAMPLING, repeatPenalty: 1.1 } });
    setParam(own, "seed", "-1");
    expect(own.sampling.seed).toBeGreaterThanOrEqual(0);
  });

  test.each([
    ["top-k", "1.5"],
    ["temperature", "-1"],
    ["temperature", "warm"],
    ["temperature", ""],
    ["max-tokens", "0"],
    ["nothing", "1"],
  ])("%s %j is refused and changes nothing", (name, value) => {
    const own = settings();
    expect(() => setParam(own, name, value)).toThrow();
    expect(own).toEqual(settings());
  });
});

describe("text", () => {
  const shown = (columns: number | undefined, environment: Record<string, string>, markdown: boolean): string => {
    let written = "";
    const style = createStyle(new RecordingStream(columns), environment);
    const display = new TextDisplay((text) => void (written += text), style, markdown);
    for (const piece of ["a **bo", "ld** word", "\x1b[2J", " `x"]) display.push(piece);
    display.end();
    return written;
  };

  test("is markdown where there are colors, as it stands where there are none, and ends its line", () => {
    expect(shown(80, {}, true)).toBe("a \x1b[1mbold\x1b[22m word␛[2J `x\n");
    const plain = "a **bold** word␛[2J `x\n";
    expect([shown(80, { NO_COLOR: "1" }, true), shown(undefined, {}, true), shown(80, {}, false)]).toEqual([
      plain,
      plain,
      plain,
    ]);
  });

  test("is broken at words, and code is not", () => {
    let written = "";
    const style = createStyle(new RecordingStream(20), {});
    const display = new TextDisplay(
      (text) => void (written += text),
      style,
      true,
      () => 20,
    );
    const code = "let a = b + c + d + e + f;";
    for (const piece of ["some words that do n", `ot fit\n\`\`\`\n${code}\n\`\`\`\nend`]) display.push(piece);
    display.end();
    const lines = Bun.stripANSI(written).split("\n");
    expect(lines).toEqual(["some words that do", "not fit", "```", code, "```", "end", ""]);
  });

  test("that is nothing shows nothing", () => {
    let written = "";
    new TextDisplay((text) => void (written += text), createStyle(new RecordingStream(), {}), true).end();
    expect(written).toBe("");
  });
});

test("the line of numbers", () => {
  const reply = {
    text: "",
    tokens: Array.from({ length: 11 }, () => 1),
    offsets: [],
    promptTokens: 1300,
    cachedTokens: 1200,
    finishReason: "stop",
    prefillSeconds: 0.5,
    decodeSeconds: 2,
  } as const;
  expect(statsLine(reply)).toBe(
    "prompt 1,300 tokens, 1,200 known, 200 tokens/s · answer 11 tokens, 5.0 tokens/s · 2.50 s",
  );
  expect(statsLine({ ...reply, cachedTokens: 0 })).toStartWith("prompt 1,300 tokens, 2,600 tokens/s · ");
});

test("an answer repeats itself that ends with one part again and again", () => {
  const part = Array.from({ length: 20 }, (_, at) => at);
  const times = (count: number) => Array.from({ length: count }, () => part).flat();
  expect([times(4), [7, 8, ...times(5)], Array<number>(48).fill(1)].map(isRepeating)).toEqual([true, true, true]);
  expect([[], times(3), [...times(5), 99], part].map(isRepeating)).toEqual([false, false, false, false]);
});
