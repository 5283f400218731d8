import { expect, test } from "bun:test";
import { createLog, Screen } from "./screen.ts";
import { createStyle, steerless } from "./style.ts";
import { formatTable } from "./table.ts";
import { RecordingStream } from "./testing/terminal.ts";

const NASTY = "a\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[8m\x9b1mb\u202e\r\nc";

test("the program's own colors pass, and nothing else that steers a terminal", () => {
  const { bold, dim, italic, red, green, yellow, cyan } = createStyle(new RecordingStream(80), {});
  for (const paint of [bold, dim, italic, red, green, yellow, cyan]) {
    expect(steerless(paint(bold("x")))).toBe(paint(bold("x")));
    expect(paint("x")).not.toBe("x");
  }
  expect(steerless("a\x1b[2J\x1b[8mb\x1b[0;31mc\x1b]0;t\x07\r\n\x9b1m\x1b")).toBe(
    "a␛[2J␛[8mb␛[0;31mc␛]0;t␇␍\n\uFFFD1m␛",
  );
});

test("notes are one line each, whatever they quote", () => {
  const stream = new RecordingStream(80);
  const style = createStyle(stream, { NO_COLOR: "1" });
  const log = createLog(new Screen(stream), style, { quiet: false, verbose: true });
  for (const say of [log.info, log.warn, log.announce, log.verbose]) say(NASTY);
  const shown = "a␛]0;title␇␛[2J␛[31mred␛[8m\uFFFD1mb\uFFFD␍␊c";
  expect(stream.text).toBe(`${shown}\nwarning: ${shown}\n${shown}\n${shown}\n`);
});

test("live lines and cells of tables are steered by nobody", () => {
  const stream = new RecordingStream(80);
  new Screen(stream).live(NASTY);
  expect(stream.text).toBe("\r\x1b[2Ka␛]0;title␇␛[2J\x1b[31mred␛[8m\uFFFD1mb\uFFFD␍␊c");
  expect(formatTable([[NASTY, "d"]]).replace("\x1b[31m", "")).not.toContain("\x1b");
});
