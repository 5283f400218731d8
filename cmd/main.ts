import { version } from "../package.json";
import { completionCommand } from "../src/terminal/options/completion.ts";
import type { Program } from "../src/terminal/options/names.ts";
import { runProcess } from "../src/terminal/options/process.ts";
import { command as analyze } from "./analyze.ts";
import { command as budget } from "./budget.ts";
import { command as cache, listCommand, pullCommand, removeCommand } from "./cache.ts";
import { command as chat } from "./chat.ts";
import { command as classify } from "./classify.ts";
import { command as compare } from "./compare.ts";
import { command as convert } from "./convert.ts";
import { command as doctor } from "./doctor.ts";
import { command as embed } from "./embed.ts";
import { command as evaluate } from "./eval.ts";
import { command as finetune } from "./finetune.ts";
import { command as inspect } from "./inspect.ts";
import { command as licenses } from "./licenses.ts";
import { command as merge } from "./merge.ts";
import { command as models } from "./models.ts";
import { command as runs } from "./runs.ts";
import { command as serve } from "./serve.ts";
import { command as tokenize } from "./tokenize.ts";

/** Set by scripts/build.ts. */
declare const RANDLORA_COMMIT: string | undefined;
const commit = typeof RANDLORA_COMMIT === "undefined" ? "" : ` (${RANDLORA_COMMIT})`;

/** The whole command line. */
export const program: Program = {
  name: "randlora",
  version: version + commit,
  summary: "Fine-tune, merge and chat with RandLoRA-adapted language models: one binary, no Python, any GPU",
  example: "randlora finetune --sparse && randlora chat",
  // In the order of `--help`. A new command: import its `command` above, add it here.
  commands: [
    finetune,
    compare,
    runs,
    merge,
    convert,
    chat,
    serve,
    tokenize,
    evaluate,
    classify,
    embed,
    inspect,
    analyze,
    budget,
    models,
    pullCommand,
    listCommand,
    removeCommand,
    cache,
    doctor,
    licenses,
    completionCommand(() => program),
  ],
  perCommand: ["adapter", "context", "dtype", "file", "prompt"],
};

// `serve` starts the program again to read what clients send (childCommand in src/files/carried.ts).
const isReader = import.meta.main && process.argv[2] === "src/chat/serve/reader-process.ts";
if (isReader) await import("../src/chat/serve/reader-process.ts");
// The second Ctrl-C: what the first one let finish may never come to its end. The one call of its kind.
if (import.meta.main && !isReader) await runProcess(program, (status) => process.exit(status));
