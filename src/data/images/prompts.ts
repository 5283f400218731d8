import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { namedSet } from "./datasets/named-sets.ts";
import { readLines } from "./datasets/files.ts";

/** Where the class stands in a template. */
const CLASS = "{}";

/** The paper's prompt. */
const SIMPLE: readonly string[] = ["An image of {}"];

/**
 * The prompts that `--templates` chooses: `simple`, the paper's one; `openai`, those that CLIP has for the set, ImageNet's 80
 * where the data are no set by name; else a file with one a line, `{}` the class.
 *
 * @param dataset `--dataset`
 * @throws {RandloraError} `file` when it cannot be read, `data` naming a line without a class, or a file without lines
 */
export async function promptTemplates(choice: string, dataset?: string): Promise<readonly string[]> {
  if (choice === "simple") return SIMPLE;
  if (choice === "openai") return namedSet(dataset ?? "ImageNet").prompts;
  const templates = await readNames(choice);
  const wrong = templates.find((template) => !template.includes(CLASS));
  if (wrong === undefined) return templates;
  throw new RandloraError(
    "data",
    `${oneLine(choice)}: a template without ${CLASS}: ${oneLine(wrong)}`,
    "{} stands for the class",
  );
}

/** What a template says of a class. */
export function fillTemplate(template: string, text: string): string {
  return template.split(CLASS).join(text);
}

/** A file with one name a line. @throws {RandloraError} `file` when it cannot be read, `data` when it is empty */
export async function readNames(path: string): Promise<readonly string[]> {
  const names = await readLines(path);
  if (names.length > 0) return names;
  throw new RandloraError("data", `${oneLine(path)}: it is empty`, "one a line");
}
