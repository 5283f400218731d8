import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceSynced } from "../../src/files/whole-file.ts";

/** Where images and records of the page are. */
export const EVIDENCE_FOLDER = join(import.meta.dir, "../../docs/evidence");
const PAGE = join(import.meta.dir, "../../docs/evidence.md");
const HEAD = `# Evidence

What of the paper's claims ([RandLoRA](https://arxiv.org/abs/2502.00987)) is seen with this program, as commands in \`bench/evidence/\`
measured it. They write these sections; words and numbers between the marks are theirs.
`;

/**
 * Puts one command's section into docs/evidence.md, between marks of its name; what others wrote stays.
 * @param name of the section, a word
 * @param text in Markdown, from a heading of the second level on
 */
export async function writeSection(name: string, text: string): Promise<void> {
  await mkdir(EVIDENCE_FOLDER, { recursive: true });
  const page = existsSync(PAGE) ? await readFile(PAGE, "utf8") : HEAD;
  await replaceSynced(PAGE, withSection(page, name, text));
}

/** The page with this section: in its old place, else at the end. */
export function withSection(page: string, name: string, text: string): string {
  const [from, to] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const section = `${from}\n\n${text.trim()}\n\n${to}`;
  const [start, end] = [page.indexOf(from), page.indexOf(to)];
  if (start < 0 || end < start) return `${page.trimEnd()}\n\n${section}\n`;
  return page.slice(0, start) + section + page.slice(end + to.length);
}
