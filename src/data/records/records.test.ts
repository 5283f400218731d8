import { TemporaryFolder } from "../../files/testing/folder.ts";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { SAMPLE_FIELDS } from "../text/samples/kinds.ts";
import { FIXTURES } from "../text/testing/families.ts";
import type { DataRecord } from "./record.ts";
import { readRecords } from "./records.ts";

async function readAll(path: string): Promise<DataRecord[]> {
  const records: DataRecord[] = [];
  for await (const record of readRecords(path, SAMPLE_FIELDS)) records.push(record);
  return records;
}

/** A field of fixtures/data/make.py's files. */
const fixture = (name: string) => join(FIXTURES, "data", `${name}.parquet`);

describe("parquet", () => {
  test("gives nested lists, text and nulls, over several row groups, as JSON would", async () => {
    expect(await readAll(fixture("chats"))).toEqual([
      {
        line: 1,
        place: "row 1",
        fields: {
          messages: [
            { role: "user", content: "Grüße 😀" },
            { role: "assistant", content: "Hallo", weight: 1 },
          ],
          tools: null,
        },
      },
      {
        line: 2,
        place: "row 2",
        fields: {
          messages: [
            { role: "user", content: "time?" },
            {
              role: "assistant",
              tool_calls: [{ function: { name: "clock", arguments: "{}" } }],
            },
          ],
          tools: '[{"name": "clock"}]',
        },
      },
      {
        line: 3,
        place: "row 3",
        fields: {
          messages: [
            { role: "user", content: "x" },
            { role: "assistant", content: "y" },
          ],
          tools: null,
        },
      },
    ]);
  });

  test("a struct has no keys of its neighbors' structs", async () => {
    const call = (name: string, args: object, properties: readonly string[]) => ({
      messages: [
        { role: "user", content: "?" },
        { role: "assistant", tool_calls: [{ function: { name, arguments: args } }] },
      ],
      tools: [
        {
          function: {
            name,
            parameters: { properties: Object.fromEntries(properties.map((key) => [key, { type: "string" }])) },
          },
        },
      ],
    });
    expect((await readAll(fixture("tools"))).map(({ fields }) => fields)).toEqual([
      call("clock", { zone: "UTC" }, ["zone"]),
      call("weather", { city: "Oslo", days: 2 }, ["city", "days"]),
    ]);
  });

  test.each(["snappy", "gzip"])("%s: columns that no kind of sample has are not read", async (compression) => {
    const none = { text: null, prompt: null, completion: null, instruction: null, input: null, output: null };
    expect((await readAll(fixture(`kinds-${compression}`))).map(({ fields }) => fields)).toEqual([
      { ...none, text: "Once" },
      { ...none, prompt: "1+1=", completion: "2" },
      { ...none, instruction: "Say a", input: "loudly", output: "A" },
      { ...none, instruction: "Say b", output: "b" },
    ]);
  });

  test("without rows, without known columns, cut short", async () => {
    expect(await readAll(fixture("empty"))).toEqual([]);
    await expect(readAll(fixture("unknown"))).rejects.toThrow(
      'unknown.parquet: none of its columns is a sample\'s field: "question", "answer"',
    );
    const bytes = await Bun.file(fixture("chats")).bytes();
    await using folder = await TemporaryFolder.with({ "cut.parquet": bytes.slice(0, 2000) });
    await expect(readAll(folder.at("cut.parquet"))).rejects.toThrow("cut.parquet: not a parquet file that can be read");
  });
});

test("the format is told by the content, not by the name", async () => {
  const parquet = await Bun.file(fixture("kinds-snappy")).bytes();
  await using folder = await TemporaryFolder.with({
    "a.jsonl": '[{"text": "a"}]',
    "b.json": '{"text": "a"}\n',
    "c.json": parquet,
  });
  for (const [name, place] of [
    ["a.jsonl", "element 1 (line 1)"],
    ["b.json", "line 1"],
  ] as const) {
    expect(await readAll(folder.at(name))).toEqual([{ line: 1, place, fields: { text: "a" } }]);
  }
  expect(await readAll(folder.at("c.json"))).toHaveLength(4);
});

test("plain text has a record a line, a table one a row", async () => {
  await using folder = await TemporaryFolder.with({
    "a.txt": "\ufeffOnce [1]\r\n\n \n{x}",
    "b.csv": '\ufeffprompt,completion\r\n"1+1=","2"\n"a\n""b""",\n',
    "c.txt": '{"text": "a"}\n',
    "d.csv": "text\na,b\n",
    "e.csv": 'prompt,completion,text\n,,whole\nNA,"None",nan\n NA,none,-\nshort\n',
    "e.txt": new Uint8Array([0x41, 0x0a, 0xff]),
    "f.tsv": 'prompt\tcompletion\n1+1=\t"2, or\t3"\n',
  });
  const text = (line: number, words: string) => ({ line, place: `line ${line}`, fields: { text: words } });
  expect(await readAll(folder.at("a.txt"))).toEqual([text(1, "Once [1]"), text(4, "{x}")]);
  expect((await readAll(folder.at("b.csv"))).map(({ line, fields }) => [line, fields])).toEqual([
    [2, { prompt: "1+1=", completion: "2" }],
    [3, { prompt: 'a\n"b"', completion: null }],
  ]);
  expect(await readAll(folder.at("c.txt"))).toEqual([text(1, "a")]);
  // An empty value is a missing field: else a line would be a completion of nothing.
  expect((await readAll(folder.at("e.csv"))).map(({ fields }) => fields)).toEqual([
    { prompt: null, completion: null, text: "whole" },
    { prompt: null, completion: null, text: null },
    { prompt: " NA", completion: "none", text: "-" },
    { prompt: "short", completion: null, text: null },
  ]);
  expect((await readAll(folder.at("f.tsv"))).map(({ fields }) => fields)).toEqual([
    { prompt: "1+1=", completion: "2, or\t3" },
  ]);
  await expect(readAll(folder.at("d.csv"))).rejects.toThrow("d.csv: line 2: 2 values for 1 columns");
  await expect(readAll(folder.at("e.txt"))).rejects.toThrow("e.txt: line 2: not UTF-8");
});

test("what is compressed, of an unknown kind, missing or a folder is refused", async () => {
  await using folder = await TemporaryFolder.with({
    "a.jsonl.gz": Bun.gzipSync("{}"),
    "b.md": "# Title\n",
    "c.md": ' {"text": "a"}\n',
    "d.jsonl": "text\n",
    empty: "",
  });
  await expect(readAll(folder.at("b.md"))).rejects.toMatchObject({
    message: expect.stringContaining("b.md: data of no known kind"),
    hint: expect.stringContaining(".tsv (tabs) and .txt (a sample a line)"),
  });
  expect([await readAll(folder.at("c.md")), await readAll(folder.at("empty"))]).toMatchObject([[{ line: 1 }], []]);
  await expect(readAll(folder.at("d.jsonl"))).rejects.toThrow("d.jsonl: line 1: not JSON");
  await expect(readAll(folder.at("a.jsonl.gz"))).rejects.toThrow("a.jsonl.gz: compressed (gzip)");
  await expect(readAll(folder.at("none.jsonl"))).rejects.toThrow("no such file");
  await expect(readAll(folder.path)).rejects.toThrow("this is a folder");
});

test("a line longer than a chunk is read whole", async () => {
  const text = "long ".repeat(600_000);
  await using folder = await TemporaryFolder.with({ "long.jsonl": [{ text }, { text: "short" }] });
  expect((await readAll(folder.at("long.jsonl"))).map(({ fields }) => fields["text"])).toEqual([text, "short"]);
});
