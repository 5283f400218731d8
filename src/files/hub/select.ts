import { RandloraError } from "../errors.ts";
import { MODEL_FILES } from "../model-files.ts";
import { INDEX_FILE, SINGLE_FILE } from "../safetensors/shards.ts";

/** What is wanted from a repository. */
export type Wanted =
  | "model" // configuration, tokenizer and weights
  | "tokenizer" // the same without the weights
  | "config" // config.json alone, and the index of the weights where there is one
  | "adapter" // a PEFT folder or an adapter.json
  | "any"; // a model where there is a configuration of one, else an adapter

/** What a repository must hold, by its file names. */
export interface Selection {
  readonly files: readonly string[];
  /** The index among `files`, when only its text tells which further files (the shards) are needed. */
  readonly index: string | undefined;
}

/** Templates lie at the top or, where a model has several, in one folder (transformers, `chat_template_utils.py`). */
const TEMPLATE = /^(?:additional_chat_templates\/)?[\w][\w.+-]*\.jinja$/;

/** Weights that no loader asks for by itself: Mistral's own layout beside the usual one. */
const CONSOLIDATED = /^consolidated.*\.safetensors$/;

/**
 * Chooses from a repository's files those that are needed, and no others: no `.bin`, GGUF, ONNX, images.
 *
 * @throws RandloraError "file" when what is needed is not there, with the reason where the names show it
 */
export function selectFiles(repo: string, paths: Iterable<string>, wanted: Wanted): Selection {
  const all = new Set(paths);
  if (wanted === "any") {
    const isAdapter = !all.has("config.json") && (all.has("adapter_config.json") || all.has("adapter.json"));
    return selectFiles(repo, all, isAdapter ? "adapter" : "model");
  }
  return wanted === "adapter" ? selectAdapter(repo, all) : selectModel(repo, all, wanted);
}

function selectModel(repo: string, all: ReadonlySet<string>, wanted: Exclude<Wanted, "adapter" | "any">): Selection {
  if (!all.has("config.json")) throw noModel(repo, all);
  if (wanted === "config")
    return { files: ["config.json", INDEX_FILE].filter((path) => all.has(path)), index: undefined };
  const small = [...all].filter((path) => MODEL_FILES.has(path) || TEMPLATE.test(path));
  if (wanted === "tokenizer") return { files: small, index: undefined };
  if (all.has(SINGLE_FILE)) return { files: [...small, SINGLE_FILE], index: undefined };
  if (all.has(INDEX_FILE)) return { files: [...small, INDEX_FILE], index: INDEX_FILE };
  const [only, ...others] = [...all].filter((path) => /^[^/]+\.safetensors$/.test(path) && !CONSOLIDATED.test(path));
  // One file under a name of its own is clear; of several nobody can say which belong together.
  if (only === undefined || others.length > 0) throw noWeights(repo, all);
  return { files: [...small, only], index: undefined };
}

function selectAdapter(repo: string, all: ReadonlySet<string>): Selection {
  const peft = ["adapter_config.json", "adapter_model.safetensors"];
  // The names of a head's rows, of an adapter that brings a head.
  const classes = all.has("classes.json") ? ["classes.json"] : [];
  if (peft.every((path) => all.has(path))) return { files: [...peft, ...classes], index: undefined };
  if (all.has("adapter.json")) return { files: ["adapter.json", ...classes], index: undefined };
  if (all.has("adapter_config.json") && all.has("adapter_model.bin")) {
    const hint = "convert it in Python: load it with PEFT, then save_pretrained(…, safe_serialization=True)";
    throw new RandloraError(
      "file",
      `${repo} holds its adapter as adapter_model.bin, a pickle, which is not read`,
      hint,
    );
  }
  if (all.has("adapter_config.json")) throw new RandloraError("file", `${repo} has no adapter_model.safetensors`);
  const hint = all.has("config.json") ? "it is a model: name it where a model is expected" : "check the name";
  throw new RandloraError("file", `${repo} is not an adapter: it has no adapter_config.json`, hint);
}

function noModel(repo: string, all: ReadonlySet<string>): RandloraError {
  const has = (ending: string): boolean => [...all].some((path) => path.endsWith(ending));
  if (all.has("adapter_config.json") || all.has("adapter.json")) {
    return new RandloraError("file", `${repo} is an adapter, not a model`, "name it where an adapter is expected");
  }
  const hint = has(".gguf")
    ? "GGUF files are not fetched: download one, and name it, or name the repository they were made from"
    : "check the name";
  return new RandloraError("file", `${repo} is not a model: it has no config.json`, hint);
}

function noWeights(repo: string, all: ReadonlySet<string>): RandloraError {
  const has = (pattern: RegExp): boolean => [...all].some((path) => pattern.test(path));
  if (has(/\.safetensors$/)) {
    const hint = `neither ${SINGLE_FILE} nor ${INDEX_FILE} is there to say which of its files belong together`;
    return new RandloraError("file", `${repo} holds its weights in a layout that is not known`, hint);
  }
  if (has(/\.gguf$/) && !has(/\.bin$/)) {
    const hint = "download one of its files and name that, or a repository that holds .safetensors";
    return new RandloraError("file", `${repo} holds its weights as GGUF only, which is not fetched`, hint);
  }
  if (!has(/\.bin$/)) return new RandloraError("file", `${repo} has no weights`, "check the name");
  const hint = "name a repository that holds .safetensors, or convert it with transformers' save_pretrained";
  return new RandloraError(
    "file",
    `${repo} holds its weights as pytorch_model.bin (a pickle) only, which is not read`,
    hint,
  );
}
