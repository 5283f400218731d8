import type { MutationsByFile } from "./mutation.ts";

/** Of src/train and src/chat. */
export const TRAIN_AND_CHAT: MutationsByFile = {
  "src/train/command/settings.ts": [["? undefined : !noShuffle", "? undefined : noShuffle", "--no-shuffle shuffles"]],
  "src/train/images/classification.ts": [
    ["+ value / length;", "+ value;", "long vectors of texts outweigh others in a class"],
  ],
  "src/train/loop/adamw.ts": [
    [
      "correction: Math.sqrt(1 - beta2 ** step)",
      "correction: 1 - beta2 ** step",
      "wrong bias correction of AdamW's second moment",
    ],
    ["keep: 1 - rate * weightDecay", "keep: 1 - weightDecay", "weight decay ignores the learning rate"],
  ],
  "src/train/model/init-adapter.ts": [
    [
      "JSON.stringify([name, dtype, shape])",
      "JSON.stringify([dtype, shape])",
      "an adapter's fingerprint ignores which module a tensor is of",
    ],
    ["await refuseChanged(adapter, { initSha256 });", "", "missing check: a run goes on with another --init-adapter"],
  ],
  "src/train/command/show-run.ts": [
    ["Math.sqrt(change / weight)", "change / weight", "the size of a change is squared"],
  ],
  "src/train/report/train-result.ts": [
    ["mean(losses.slice(-quarter))", "mean(losses.slice(quarter))", "a run's end is told by most of its steps"],
  ],
  "src/train/run/lock.ts": [
    [
      `if (left === "held") throw isTaken(folder, owner, instead);`,
      `if (left === "held") return;`,
      "two processes train into one run",
    ],
  ],
  "src/train/run/state.ts": [
    [
      "await mkdir(folder, { recursive: true });",
      `await mkdir(folder, { recursive: true });\n    await writeSynced(join(folder, DONE), "");`,
      "wrong order: a state is marked as complete before its tensors are there",
    ],
  ],
  "src/train/settings/schedule.ts": [
    ["factor(settings, step - 1, total)", "factor(settings, step, total)", "off by one in learning rates"],
  ],
  "src/train/text/data.ts": [
    [
      ".update(sample.ids).update(sample.supervised)",
      ".update(sample.ids)",
      "the data's hash ignores which tokens the loss covers",
    ],
  ],
  "src/chat/conversation.ts": [
    ["index > 0 && role", "index >= 0 && role", "the oldest turn is never dropped: a full context is tried forever"],
  ],
  "src/chat/generation/beam-search.ts": [
    ["score: score / this.#length, stopped }", "score, stopped }", "beams are not compared by their length"],
  ],
  "src/chat/generation/sampling.ts": [
    [
      "logit / repeatPenalty : logit * repeatPenalty",
      "logit / repeatPenalty : logit / repeatPenalty",
      "a repeat penalty favors tokens with negative logits",
    ],
  ],
  "src/chat/grammar/scalars.ts": [
    ["Math.floor(above) + 1", "Math.floor(above)", "exclusiveMinimum admits the bound itself"],
  ],
  "src/chat/serve/job.ts": [
    ["groups.slice(0, 4)", "groups.slice(0, 8)", "an IPv6 network counts as as many clients as it has addresses"],
  ],
  "src/chat/serve/fair-queue.ts": [
    ["moveToEnd(this.#networks, job.network);", "", "one network's requests go before all others"],
  ],
  "src/chat/serve/api-keys.ts": [
    [
      "if (origin !== null && !this.#isAllowed(origin, host)) {",
      "if (origin !== null && host === null) {",
      "missing check: any web page may use the server",
    ],
    ["if (given !== undefined && found !== undefined)", "if (given !== undefined)", "any API key is the right one"],
  ],
  "src/chat/serve/embeddings.ts": [
    ["setFloat32(4 * at, value, true)", "setFloat32(4 * at, value)", "base64 embeddings have the wrong byte order"],
  ],
  "src/chat/serve/shapes/ollama.ts": [
    ["Math.round(seconds * 1e9)", "Math.round(seconds * 1e6)", "Ollama's durations are microseconds"],
  ],
  "src/chat/terminal/commands.ts": [["value < 1) throw", "value < 0) throw", "lost bound: /params max-tokens 0"]],
  "src/chat/tools/answer-formats.ts": [
    [
      "/<think>\\s*$/.test(prompt)",
      "/<think>$/.test(prompt)",
      "thoughts are shown as the answer where the template ends in a line feed",
    ],
  ],
};
