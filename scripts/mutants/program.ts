import type { MutationsByFile } from "./mutation.ts";

/** Of src/measure, src/library, src/terminal, cmd and scripts. */
export const PROGRAM: MutationsByFile = {
  "src/measure/compare/statistics.ts": [
    ["Math.sqrt(squares / (n - 1))", "Math.sqrt(squares / n)", "the deviation of a few runs is biased"],
  ],
  "src/measure/inputs.ts": [
    [
      `"run.json"))) return [path];`,
      `"run.json"))) return [];`,
      "missing check: an output may replace the model that is read",
    ],
  ],
  "src/measure/images/batches.ts": [
    ["(_, at) => first + at)", "(_, at) => at)", "the first images are measured again instead of the rest"],
  ],
  "src/measure/analyze/plan-variants.ts": [
    ["&& Bun.deepEquals(one.main, other.main)", "", "missing check: a model of another shape is taken for a variant"],
  ],
  "src/measure/analyze/cka/cka.ts": [
    [
      "const weight = i === j ? 1 : 2;",
      "const weight = 1;",
      "the full estimator counts pairs once, and the diagonal as well",
    ],
  ],
  "src/measure/analyze/plane/plane.ts": [
    [
      "return [1 - x - y / 2, y, x - y / 2];",
      "return [1 - x + y / 2, y, x - y / 2];",
      "shares of a plane do not sum to 1",
    ],
  ],
  "src/measure/budget/budget.ts": [
    ["+ Number(areTrained && isTrained));", ");", "operations of full fine-tuning lack the weights' gradients"],
  ],
  "src/measure/doctor/report.ts": [
    [
      "cpu?.product.correct === false || cpu",
      "cpu?.product.correct === false && cpu",
      "doctor trusts a CPU that computes one kind of product wrong",
    ],
  ],
  "src/measure/doctor/verify/supervise.ts": [
    ["[FROM_VARIABLE]: String(this.#next)", `[FROM_VARIABLE]: "0"`, "after a crash the self-check begins anew"],
  ],
  "src/measure/eval/perplexity.ts": [
    ["first < ids.length - 1;", "first < ids.length;", "a window of one token, which predicts nothing"],
  ],
  "src/measure/images/accuracy-command.ts": [
    ["(right[label] ?? 0) + isRight", "(right[label] ?? 0) + 1", "every answer is right"],
  ],
  "src/measure/inspect/spectrum.ts": [
    ["(x - y) * (x - y)", "(x - y) * (x + y)", "wrong sign in the distance of two adapters"],
  ],
  "src/library/options.ts": [
    [
      `if (texts.includes("")) throw new InvalidValue("is empty");`,
      "",
      "missing check: the library takes empty values",
    ],
  ],
  "src/terminal/format.ts": [["size >= 999.5", "size >= 1000", "999.7 kB are written as 1000 kB"]],
  "src/terminal/table.ts": [
    [
      `align === "r" ? space + text : text + space`,
      `align === "r" ? text + space : space + text`,
      "columns are aligned the other way",
    ],
  ],
  "src/terminal/charts/axes.ts": [
    ["scale.clamp(true);", "", "lost bound: points beyond the axes are drawn outside the chart"],
  ],
  "src/terminal/editor/edit.ts": [
    ["cursor - 1) + 1);", "cursor) + 1);", "at a line feed the line's start is behind the cursor"],
  ],
  "src/terminal/options/config.ts": [
    [
      `if (file.from === "folder") refuseUsersOwn(`,
      `if (file.from !== "folder") refuseUsersOwn(`,
      "a foreign folder's configuration names files to replace",
    ],
  ],
  "src/terminal/options/values.ts": [
    ["value < range.min)", "value <= range.min)", "off by one: the least value that is allowed is refused"],
  ],
  "src/terminal/options/shared/job.ts": [
    ["index % of === number - 1", "index % of === number", "the last task of a job array does nothing"],
  ],
  "cmd/runs.ts": [["if (!yes) {", "if (yes === undefined) {", "a run is removed without --yes"]],
  "cmd/cache.ts": [
    [
      "incomplete_bytes: repository.incompleteBytes",
      "incomplete_bytes: repository.bytes",
      "ls --json reports the wrong size of unfinished downloads",
    ],
  ],
  "scripts/npm/randlora.mjs": [
    ["process.exit(status)", "process.exit(0)", "the npm package hides the program's exit status"],
  ],
  "scripts/sign-macho.ts": [
    [
      "const pages = Math.ceil(end / PAGE);",
      "const pages = Math.floor(end / PAGE);",
      "the last page of a macOS binary is not signed",
    ],
  ],
};
