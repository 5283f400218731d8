import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceSynced } from "../../src/files/whole-file.ts";

/** Where images and records of the page are. */
export const EVIDENCE_FOLDER = join(import.meta.dir, "../../docs/evidence");
const PAGE = join(import.meta.dir, "../../docs/evidence.md");
const HEAD = `# Evidence

Which claims of the paper ([RandLoRA](https://arxiv.org/abs/2502.00987)) this program reproduces. Commands in
\`bench/evidence/\` measure, and write the sections between the marks.
`;

/**
 * Puts one command's section into docs/evidence.md, between marks of its name; what others wrote stays.
 * @param name of the section, a word
 * @param text in Markdown, from a heading of the second level on
 */
export async function writeSection(name: string, text: string): Promise<void> {
  await mkdir(EVIDENCE_FOLDER, { recursive: true });
  const page = existsSync(PAGE) ? await readFile(PAGE, "utf8") : HEAD;
  await replaceSynced(PAGE, withSection(page, name, filled(text)));
}

const WIDTH = 120;

/** Markdown whose paragraphs and items of lists have lines of at most 120 characters; tables and code stay as they are. */
export function filled(text: string): string {
  return text
    .split(/\n{2,}/)
    .map((block) =>
      /^(?:```|\||#|!)/.test(block)
        ? block
        : block
            .split(/\n(?=- )/)
            .map(fill)
            .join("\n"),
    )
    .join("\n\n");
}

function fill(paragraph: string): string {
  const indent = paragraph.startsWith("- ") ? "  " : "";
  // Code is not broken.
  const words = paragraph.match(/(?:`[^`]*`|[^\s`])+/g) ?? [];
  let line = "";
  const lines: string[] = [];
  for (const word of words) {
    if (line !== "" && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = indent + word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].join("\n");
}

/** A command as code in Markdown, a line for what fits, so that a shell reads it. */
export function commandBlock(command: string): string {
  const lines = [""];
  for (const part of command.split(/ (?=--)/)) {
    const last = lines.at(-1) ?? "";
    if (last.length + 1 + part.length + 2 > WIDTH) lines.push(`  ${part}`);
    else lines[lines.length - 1] = last === "" ? part : `${last} ${part}`;
  }
  return `\`\`\`sh\n${lines.join(" \\\n")}\n\`\`\``;
}

/** The page with this section: in its old place, else at the end. */
export function withSection(page: string, name: string, text: string): string {
  const [from, to] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const section = `${from}\n\n${text.trim()}\n\n${to}`;
  const [start, end] = [page.indexOf(from), page.indexOf(to)];
  if (start < 0 || end < start) return `${page.trimEnd()}\n\n${section}\n`;
  return page.slice(0, start) + section + page.slice(end + to.length);
}
