import { parseRepository } from "../../files/hub/name.ts";
import type { AdapterContent } from "../files/content.ts";
import { isInPeft, type MethodDefinition } from "../method/method.ts";

/** The README.md of a PEFT folder: a model card as the Hub reads it, and how to use what is there. */
export function peftReadme(
  content: AdapterContent,
  method: Pick<MethodDefinition, "title" | "ownTypes" | "peftWarning">,
): string {
  const { title, peftWarning } = method;
  const { config, bases } = content;
  const inPeft = isInPeft(method, config);
  const base = config["base_model_name_or_path"];
  const onHub = typeof base === "string" && parseRepository(base) !== undefined;
  const loads = inPeft
    ? `PEFT loads this folder${onHub ? ` on top of \`${base}\`` : ""}`
    : "PEFT, which has no such adapters, cannot load it";
  const generator = bases?.["generator"];
  const warning = inPeft ? peftWarning?.(content) : undefined;
  return [
    "---",
    ...(inPeft ? ["library_name: peft"] : []),
    ...(onHub ? [`base_model: ${base}`] : []),
    "tags:",
    "  - randlora",
    "---",
    "",
    `# ${title} adapter`,
    "",
    `Written by randlora. ${loads}; \`randlora merge BASE .\` adds it to the weights.`,
    ...(warning === undefined ? [] : ["", warning]),
    ...(typeof generator === "string" ? ["", `Its random bases are drawn by \`${generator}\`.`] : []),
    "",
  ].join("\n");
}
