import { expect, test } from "bun:test";
import { createStyle } from "../../terminal/style.ts";
import { RecordingStream } from "../../terminal/testing/terminal.ts";
import { MessageParser } from "../tools/message-parser.ts";
import { FoldedText, TextDisplay } from "./text-display.ts";

/** What is shown of an answer that comes in single characters; remarks in brackets. */
function shown(text: string, thinking: "open" | "maybe" | undefined): string {
  let seen = "";
  const display = new TextDisplay((more) => void (seen += more), createStyle(new RecordingStream(), {}), true);
  const folded = new FoldedText(display, (line) => void (seen += `[${line}]`));
  const parser = new MessageParser({ thinking });
  for (const character of text) folded.push(parser.push(character));
  folded.push(parser.end());
  folded.end();
  return seen;
}

test.each([
  ["<think>\nso it\nis\n</think>\n\nYes.", "maybe", "[(thinking)][(thought for 3 words)]Yes.\n"],
  ["so</think>Yes.", "open", "[(thinking)][(thought for 1 word)]Yes.\n"],
  ["never done", "open", "[(thinking)][(thought for 2 words)]"],
  ["<think>is text</think>", undefined, "<think>is text</think>\n"],
  ["", "maybe", ""],
] as const)("%j is shown as it should be", (text, thinking, wanted) => {
  expect(shown(text, thinking)).toBe(wanted);
});

test("who thinks again behind something said is folded again", () => {
  let seen = "";
  const display = new TextDisplay((more) => void (seen += more), createStyle(new RecordingStream(), {}), true);
  const folded = new FoldedText(display, (line) => void (seen += `[${line}]`));
  for (const part of [{ content: "Look:" }, { reasoning: "so" }, { reasoning: " it is" }, { content: "Yes." }]) {
    folded.push({ content: "", reasoning: "", calls: [], ...part });
  }
  folded.end();
  expect(seen).toBe("Look:\n[(thinking)][(thought for 3 words)]Yes.\n");
});
