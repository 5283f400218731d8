import { expect, test } from "bun:test";
import { integer, text } from "../terminal/options/option.ts";
import { FINETUNE_OPTIONS } from "../train/settings/options.ts";
import { settledOptions } from "./options.ts";

const OPTIONS = {
  dataset: text({ value: "NAME", topic: "Data", help: "the data's layout" }),
  steps: integer({ value: "N", topic: "Data", help: "number of steps", min: 1 }),
};

test("options of the library are those of the command: unknown, empty and impossible ones are refused", () => {
  const settled = (given: object) => settledOptions(OPTIONS, given);
  expect(settled({ steps: 1 })).toMatchObject({ steps: 1, dataset: undefined });
  expect(() => settled({ dataset: "" })).toThrow('dataset: "" is empty');
  expect(() => settled({ steps: 0 })).toThrow("must be at least 1");
  expect(() => settled({ step: 1 })).toThrow("step: no such option");
});

test("a yes or no of the command line is a boolean", () => {
  const { projections } = FINETUNE_OPTIONS;
  expect(settledOptions({ projections }, { projections: false })).toEqual({ projections: false });
  expect(settledOptions({ projections }, { projections: true })).toEqual({ projections: true });
});
