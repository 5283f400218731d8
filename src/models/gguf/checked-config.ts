import * as v from "valibot";
import { brief, quote } from "../../files/failure.ts";
import { GgufFields } from "../../files/gguf/metadata.ts";
import type { GgufFile } from "../../files/gguf/reader.ts";
import { architectureOf } from "../decoder/architectures/index.ts";
import { ConfigJson } from "../decoder/config-file.ts";
import { fieldsOf } from "./fields.ts";
import { readGgufConfig } from "./read-config.ts";

/** Settings that have another name than `fieldsOf` has for them. */
const RENAMED: Readonly<Record<string, keyof ConfigJson>> = {
  num_experts: "num_local_experts",
  top_k_experts: "num_experts_per_tok",
};

/**
 * `readGgufConfig`, whose numbers are those of a model: what is none is refused by the file's own name for it.
 * @throws RandloraError as `readGgufConfig`
 */
export async function checkedGgufConfig(file: GgufFile): Promise<Readonly<Record<string, unknown>>> {
  const json = await readGgufConfig(file);
  const named = architectureOf(String(json["model_type"]))?.settings?.(json) ?? json;
  const { issues: [issue] = [] } = v.safeParse(ConfigJson, named);
  if (issue === undefined) return json;
  const fields = new GgufFields(file.header.metadata, file.path);
  const setting = v.getDotPath(issue) ?? "";
  const arch = fields.string("general.architecture") ?? "";
  const field = fieldsOf(arch).find((one) => one.setting === (RENAMED[setting] ?? setting));
  const what = field === undefined ? setting : `metadata entry ${quote(`${arch}.${field.key}`)}`;
  throw fields.broken(`${what}: ${brief(issue.message)}`);
}
