import { parseRepository } from "../hub/name.ts";
import type { AdapterContent } from "./content.ts";

/** The README.md of a PEFT folder: a model card as the Hub reads it, and how to use what is there. `title`: of its method. */
export function peftReadme({ config, bases }: AdapterContent, title: string): string {
  const base = config["base_model_name_or_path"];
  const onHub = typeof base === "string" && parseRepository(base) !== undefined;
  const generator = bases?.["generator"];
  return [
    "---",
    "library_name: peft",
    ...(onHub ? [`base_model: ${base}`] : []),
    "tags:",
    "  - randlora",
    "---",
    "",
    `# ${title} adapter`,
    "",
    `Written by randlora. PEFT loads this folder${onHub ? ` on top of \`${base}\`` : ""}; \`randlora merge BASE .\` adds it to the weights.`,
    ...(typeof generator === "string" ? ["", `Its random bases are drawn by \`${generator}\`.`] : []),
    "",
  ].join("\n");
}
