import type { MutationsByFile } from "./mutation.ts";

/** Of src/files and src/data. */
export const FILES_AND_DATA: MutationsByFile = {
  "src/files/lock.ts": [
    ["const LOCK_EX = 2;", "const LOCK_EX = 1;", "locks are shared: two processes hold one at once"],
  ],
  "src/files/publish.ts": [
    [
      "await link(this.partPath, this.target);",
      "await rename(this.partPath, this.target);",
      "an output replaces a file that appeared meanwhile",
    ],
    [
      "if (isOld && !(await exists(target)))",
      "if (isOld)",
      "what a dead process set aside replaces the finished output",
    ],
  ],
  "src/files/swap.ts": [["await rename(old, target);", "", "a folder that cannot be replaced is lost from its name"]],
  "src/files/gguf/writer.ts": [
    ["of tensor.shape.toReversed()", "of tensor.shape", "GGUF's dimensions are written outermost first"],
  ],
  "src/files/hub/download.ts": [
    [
      "return this.#have === this.file.size && this.#hash.copy()",
      "return this.#have === this.file.size || this.#hash.copy()",
      "a damaged download is taken for a right one",
    ],
  ],
  "src/files/hub/http.ts": [
    [
      "if (next !== undefined && !isOn(settings.endpoint, next)) {",
      'if (next === "") {',
      "missing check: a list of files may go on at another server",
    ],
  ],
  "src/files/safetensors/header.ts": [
    [
      "if (length > BigInt(fileSize - LENGTH_BYTES)) {",
      "if (length > BigInt(fileSize)) {",
      "missing check: a header may end beyond the file",
    ],
  ],
  "src/files/safetensors/numbers.ts": [
    ["(bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16", "(bits + 0x8000) >>> 16", "BF16 rounds ties away from zero"],
  ],
  "src/data/batches/shuffle.ts": [
    [
      "Math.min(Math.max(Math.round(fraction * count), 1), count - 1)",
      "Math.max(Math.round(fraction * count), 1)",
      "a split may leave nothing to train on",
    ],
    ["Math.floor(unit * (i + 1))", "Math.floor(unit * i)", "off by one: a shuffle never leaves a sample in its place"],
  ],
  "src/data/batches/steps.ts": [
    [
      "const stepsPerEpoch = Math.ceil(",
      "const stepsPerEpoch = Math.floor(",
      "the last, smaller batch of an epoch is dropped",
    ],
  ],
  "src/data/images/loader.ts": [
    ["return centred / Math.fround(", "return centred * Math.fround(", "pixels are multiplied by the deviation"],
  ],
  "src/data/images/job.ts": [
    [
      "from: Math.floor((length - wanted) / 2)",
      "from: Math.ceil((length - wanted) / 2)",
      "center crops are off by a pixel",
    ],
  ],
  "src/data/images/datasets/labels.ts": [
    ["number < length", "number <= length", "a label beyond the last class is accepted"],
  ],
  "src/data/images/datasets/row-cache.ts": [["this.#bytes -= bytes;", "", "the cache counts what it has let go of"]],
  "src/data/images/formats/png.ts": [
    ["return (a + b) >> 1;", "return (a + b + 1) >> 1;", "PNG's average filter rounds up"],
  ],
  "src/data/images/datasets/named-sets.ts": [
    ["Number(name) !== label", "Number(name) < label", "classes that are numbered from 1 get the names of others"],
  ],
  "src/data/records/csv.ts": [["begun = line;", "", "errors name the wrong line of a CSV file"]],
  "src/data/text/detokenizer.ts": [
    ["if (stop.length > rest && stop", "if (stop.length > rest + 1 && stop", "the begin of a stop string is shown"],
  ],
  "src/data/text/gguf/vocabulary.ts": [
    [
      "if (!ranks.has(text)) ranks.set(text, rank);",
      "ranks.set(text, rank);",
      "of two merges to one token the later one counts",
    ],
  ],
  "src/data/text/regex/linear-regexp.ts": [
    ["end : end + unitsAt(text, end);", "end : end + 1;", "an empty match may split a surrogate pair"],
  ],
  "src/data/text/regex/python/characters.ts": [
    [
      "String.raw`(?![^\\n])` : String.raw`(?=\\n?$)`",
      'String.raw`(?![^\\n])` : "$"',
      "Python's $ does not match before a last line feed",
    ],
  ],
  "src/data/text/samples/encoder.ts": [
    ["{ start: prompt.length, end: text.length }", "{ start: 0, end: text.length }", "the loss covers prompts"],
  ],
  "src/data/text/template/strftime.ts": [['date.getHours() < 12 ? "AM"', 'date.getHours() <= 12 ? "AM"', "noon is AM"]],
  "src/data/text/tokenizer/merging.ts": [
    [
      "right !== undefined && right < below",
      "right !== undefined && right > below",
      "the queue of merges loses its order",
    ],
  ],
};
