import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "..");

/** Words that this project once had of its own, where the field has others: a stranger searches for those. */
const PRIVATE: readonly (readonly [RegExp, string])[] = [
  [/\bpictures?\b/i, "image, image dataset, figure"],
  [/\b(?:un)?learnt\b|\blearns?\b|\b(?:is|are|be) taught\b|\bteach(?:es)?\b/i, "train, trained on, the loss covers"],
  [/\btrained numbers?\b|\btrains? (?:nearest to )?so many numbers\b|\bmany numbers\b/i, "trainable parameters"],
  [/\btexts (?:together|side by side)\b/i, "batch"],
  [/\bweights in blocks\b/i, "quantized"],
  [/\bof its own alone\b|\bwhat it takes\b/i, "say it plainly"],
];

/** The same of comments and names in code, as far as a word has no other meaning there. */
const PRIVATE_IN_CODE: typeof PRIVATE = [
  [/\bpictures?\b/i, "image"],
  [/\b(?:un)?learnt\b|\blearns\b|\btaught\b|\bteach(?:es)?\b/i, "train"],
  [/\btrained numbers?\b|\bnumbers (?:is|are) trained\b/i, "trainable parameters"],
  [/\btexts (?:together|side by side)\b/i, "batch"],
  [/\b(?:weights|held) in blocks\b/i, "quantized"],
  [
    /\bfunction what[A-Z]|\bexport (?:class|interface|type) (?:\w*Writing|Places|Beginning)\b/,
    "what it is, to a stranger",
  ],
];

const documents = [
  "README.md",
  "CHANGELOG.md",
  "fixtures/README.md",
  "bench/*.md",
  "bench/peers/*.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  "docs/*.md",
  "docs/guide/*.md",
  "docs/interface/*.md",
  "docs/decisions/*.md",
].flatMap((pattern) => [...new Bun.Glob(pattern).scanSync(ROOT)]);
/** Help, notes and errors are string literals of the program. */
const sources = ["cmd/**/*.ts", "src/**/*.ts"]
  .flatMap((pattern) => [...new Bun.Glob(pattern).scanSync(ROOT)])
  .filter((path) => !/\.test\.ts$|[\\/]testing[\\/]|[\\/]assembly[\\/]/.test(path));

/** All code, tests and scripts too; but for this file. Text that a model or a test reads is a literal, and may say anything. */
const code = ["{src,cmd,bench,scripts,interop}/**/*.{ts,mjs,py,wgsl}"]
  .flatMap((pattern) => [...new Bun.Glob(pattern).scanSync(ROOT)])
  .filter((path) => !/(?:^|[\\/])(?:node_modules|words\.test\.ts)(?:[\\/]|$)/.test(path));

function literalsOf(path: string): string[] {
  const text = readFileSync(join(ROOT, path), "utf8").replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  return [...text.matchAll(/"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g)].map(([literal]) => literal);
}

describe("the field's words", () => {
  test("are those of the documents", () => {
    expect(documents.length).toBeGreaterThan(5);
    const found = documents.flatMap((path) =>
      readFileSync(join(ROOT, path), "utf8")
        .split("\n")
        .flatMap((line, index) => complaints(`${path}:${index + 1}`, line)),
    );
    expect(found).toEqual([]);
  });

  test("are those of help, notes and errors", () => {
    expect(sources.flatMap((path) => literalsOf(path).flatMap((literal) => complaints(path, literal)))).toEqual([]);
  });

  test("are those of comments and names", () => {
    expect(code.length).toBeGreaterThan(1000);
    const found = code.flatMap((path) =>
      readFileSync(join(ROOT, path), "utf8")
        .split("\n")
        .map((line) => line.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""'))
        .flatMap((line, index) => complaints(`${path}:${index + 1}`, line, PRIVATE_IN_CODE)),
    );
    expect(found).toEqual([]);
  });
});

function complaints(place: string, text: string, words = PRIVATE): string[] {
  return words.flatMap(([word, instead]) => {
    const found = word.exec(text);
    return found === null ? [] : [`${place}: "${found[0]}" (${instead})`];
  });
}
