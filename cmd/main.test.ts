import { describe, expect, test } from "bun:test";
import { completionScript } from "../src/terminal/options/completion.ts";
import { GLOBAL_OPTIONS } from "../src/terminal/options/globals.ts";
import { allCommands, environmentName, flagName } from "../src/terminal/options/names.ts";
import { parse } from "../src/terminal/options/parse.ts";
import { program } from "./main.ts";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { randlora, spawned } from "./testing/program.ts";

const style = { columns: 100, bold: (text: string) => text, dim: (text: string) => text };

describe.each(allCommands(program).map(({ path, command }) => [path.join(" "), path, command] as const))(
  "randlora %s",
  (_, path, command) => {
    test("has an example that it would accept", () => {
      const line = /randlora ([^)|>;&]*)/.exec(command.example)?.[1] ?? "";
      const words = [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, a, b, c]) => a ?? b ?? c ?? "");
      expect(parse(program, words, style)).toMatchObject({ kind: "run", path });
    });

    test("as a process refuses what it does not know, on standard error", async () => {
      const { status, stdout, stderr } = await spawned([...path, "--no-such-option"]);
      const hint = `hint: see randlora ${path.join(" ")} --help\n`;
      expect([status, stdout, stderr]).toEqual([2, "", `error: unknown option '--no-such-option'\n${hint}`]);
    });

    test("explains every option and argument", () => {
      const described = [...Object.values(command.options), ...Object.values(command.arguments)];
      expect(described.filter(({ help }) => help === "" || help.endsWith("."))).toEqual([]);
      const request = parse(program, [...path, "--help-all"], style);
      const help = request.kind === "help" ? request.text : "";
      const script = completionScript("fish", { ...program, commands: [command] });
      // Nothing is accepted that neither names, and each is explained by itself, wherever it stands.
      for (const [key, { help: words }] of Object.entries(command.options)) {
        expect(help).toContain(`--${flagName(key)}`);
        expect(script).toContain(` -l ${flagName(key)} `);
        expect(words).not.toMatch(/likewise|not in this version|^(lower|their) /);
      }
    });

    test("uses no name twice", () => {
      const options = Object.entries(command.options);
      const globals = Object.entries(GLOBAL_OPTIONS);
      const names = [...options, ...globals].map(([key]) => environmentName(key));
      const letters = [...options, ...globals].map(([, { short }]) => short).filter((short) => short !== "");
      for (const taken of [names, [...letters, "h", "V"]]) expect(new Set(taken).size).toBe(taken.length);
    });
  },
);

test.each(allCommands(program).map(({ path, command }) => [path.join(" "), path, command] as const))(
  "%s --help shows the fifteen options that people use at most, --help-all every one, both the variables once",
  (_, path, command) => {
    const helpOf = (flag: string) => {
      const request = parse(program, [...path, flag], style);
      return request.kind === "help" ? request.text : "";
    };
    const globals = Object.keys(GLOBAL_OPTIONS).length;
    const listed = (text: string) => text.match(/^  (?:-\w, )?--[a-z-]+/gm)?.length ?? 0;
    expect(listed(helpOf("--help-all"))).toBe(Object.keys(command.options).length + globals);
    expect(listed(helpOf("--help"))).toBeWithin(0, 16);
    for (const key of Object.keys(GLOBAL_OPTIONS)) expect(helpOf("--help")).toContain(`--${flagName(key)}`);
    const more = `--help-all shows ${command.hidden.length} more options.`;
    expect(helpOf("--help").includes(more)).toBe(command.hidden.length > 0);
    for (const flag of ["--help", "--help-all"]) expect(helpOf(flag).match(/RANDLORA_MAX_TOKENS/g)).toHaveLength(1);
  },
);

test.each([
  ["train", "finetune"],
  ["generate", "chat"],
  ["fuse", "merge"],
  ["tokenise", "tokenize"],
])("who asks for %s is told of %s", (word, meant) => {
  expect(() => parse(program, [word, "--help"], style)).toThrow(
    expect.objectContaining({ code: "usage", hint: `did you mean ${meant}?` }),
  );
});

test("who names the data behind the model is told of --data", () => {
  expect(() => parse(program, ["finetune", "model", "chats.jsonl"], style)).toThrow(
    expect.objectContaining({ code: "usage", hint: "data is given with --data; see randlora finetune --help" }),
  );
});

test.each([
  [["merge", "base", "adapter"], "out: elsewhere", "out"],
  [["merge", "base", "adapter"], "merge: {force: true}", "force"],
  [["convert", "adapter", "--to", "json"], "force: yes", "force"],
  [["finetune"], "out: elsewhere", "out"],
  [["serve"], "host: 0.0.0.0", "host"],
  [["serve"], "serve: {api_key: known-to-others}", "api-key"],
  [["finetune"], "resume: runs/theirs", "resume"],
  [["runs", "rm", "runs/one"], "yes: true", "yes"],
  [["eval", "perplexity", "model"], "parts: elsewhere", "parts"],
])("randlora %p takes no `%s` from the folder it is started in", async (args, yaml, key) => {
  await using folder = await TemporaryFolder.create();
  await Bun.write(
    folder.at("randlora.yaml"),
    `${yaml}
`,
  );
  const { status, stderr } = await randlora(args, { cwd: folder.path });
  const message = `error: randlora.yaml: ${key}: the current folder's file may not set this`;
  expect([status, stderr.split("\n")[0]]).toEqual([2, message]);
});

test.each([
  [["finetune", "--method", "qlora"], "--method lora --quantize q4"],
  [["merge", "a", "b", "--outtype", "q4_k_m"], "q4_0 has 4 bits"],
])("who writes %p is told what to write here", async (args, hint) => {
  const { status, stderr } = await randlora(args);
  expect([status, stderr]).toEqual([2, expect.stringContaining(hint)]);
});

test.each([["runs"], ["cache"]])("%s alone lists", (group) => {
  expect(parse(program, [group, "--json"], style)).toMatchObject({ kind: "run", path: [group, "list"] });
  expect(parse(program, [group, "--help"], style)).toMatchObject({ kind: "help" });
});
