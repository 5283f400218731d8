import { expect, test } from "bun:test";
import { evaluationPrompt, trainingPrompt } from "./commonsense-prompt.ts";

// Blanks are written as ·, so that editors and formatters leave them alone.
const shown = (text: string) => text.replaceAll(" ", "·");
const S = "················";
const BEGIN = "Below·is·an·instruction·that·describes·a·task";
const FURTHER = "·paired·with·an·input·that·provides·further·context";
const REQUEST = "Write·a·response·that·appropriately·completes·the·request.";

test("the training prompt, blank by blank", () => {
  expect(shown(trainingPrompt({ instruction: "Is it?\n\nSay it.", input: "", output: "yes" }))).toBe(
    [
      `${BEGIN}.·${REQUEST}··`,
      "",
      `${S}###·Instruction:`,
      `${S}Is·it?`,
      "",
      "Say·it.",
      S,
      `${S}###·Response:`,
      `${S}yes`,
    ].join("\n"),
  );
  expect(shown(trainingPrompt({ instruction: "Is it?", input: "It.", output: "yes" }))).toBe(
    [
      `${BEGIN},${FURTHER}.·${REQUEST}·`,
      "",
      `${S}###·Instruction:`,
      `${S}Is·it?`,
      S,
      `${S}###·Input:`,
      `${S}It.`,
      S,
      `${S}###·Response:`,
      `${S}yes`,
    ].join("\n"),
  );
});

test("the evaluation prompt, blank by blank", () => {
  expect(shown(evaluationPrompt({ instruction: "Is it?", input: "" }))).toBe(
    [`${BEGIN}.·${REQUEST}·`, "", `${S}###·Instruction:`, `${S}Is·it?`, "", `${S}###·Response:`, S].join("\n"),
  );
  expect(shown(evaluationPrompt({ instruction: "Is it?", input: "It." }))).toBe(
    [
      `${BEGIN},${FURTHER}.·${REQUEST}`,
      "",
      `${S}###·Instruction:`,
      `${S}Is·it?`,
      "",
      `${S}###·Input:`,
      `${S}It.`,
      "",
      `${S}###·Response:`,
      S,
    ].join("\n"),
  );
});
