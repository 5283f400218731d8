import { version } from "../package.json";
import { runProcess } from "../src/options/process.ts";

await runProcess(
  {
    name: "randlora",
    version,
    summary: "Fine-tune, merge and chat with RandLoRA-adapted language models: one binary, no Python, any GPU",
    example: "randlora merge smollm2-135m my-adapter --out smollm2-mine",
    commands: [],
  },
  // The second Ctrl-C: what the first one let finish may never come to its end. The one call of its kind.
  (status) => process.exit(status),
);
