import { RandloraError } from "../../files/errors.ts";
import { defineCommand, required, type Command } from "./command.ts";
import { GLOBAL_OPTIONS } from "./globals.ts";
import { allCommands, flagName, type Program } from "./names.ts";
import type { Option } from "./option.ts";

/** Shells that `completion` knows. */
const SHELLS = { bash, zsh, fish };

/** @json completion */
interface CompletionJson {
  readonly shell: string;
  readonly script: string;
}

/**
 * The command that prints a completion script for the whole program.
 *
 * @param program asked for when the command runs, since the command is itself a part of it
 */
export function completionCommand(program: () => Program): Command {
  return defineCommand({
    name: "completion",
    summary: "Print a shell's completion script",
    example: "source <(randlora completion bash)",
    arguments: { shell: required("bash|zsh|fish", "the shell it is for") },
    options: {},
    run({ shell }, _, context) {
      if (!isShell(shell)) {
        throw new RandloraError(
          "usage",
          `completion: no script for ${JSON.stringify(shell)}`,
          "one of: bash, zsh, fish",
        );
      }
      const script = completionScript(shell, program());
      const json: CompletionJson = { shell, script };
      context.result(json, () => script);
    },
  });
}

/** The script that a shell sources to complete the program's commands, options and values. */
export function completionScript(shell: keyof typeof SHELLS, program: Program): string {
  return SHELLS[shell](program);
}

function isShell(name: string): name is keyof typeof SHELLS {
  return Object.hasOwn(SHELLS, name);
}

interface Flag {
  /** `--dtype` */
  readonly long: string;
  readonly short: string;
  readonly help: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  /** Whether what may follow it is a run. */
  readonly isOfRun: boolean;
}

/** What can follow a sequence of command words: further words, or a command's flags. */
interface Place {
  readonly path: readonly string[];
  readonly words: readonly { readonly name: string; readonly summary: string }[];
  readonly flags: readonly Flag[];
  /** Whether a run may stand there as an argument: beside files, or alone. */
  readonly runs: "" | "too" | "only";
}

function places(program: Program): readonly Place[] {
  const groups = program.commands.filter((entry) => entry.kind === "group");
  const plain = flagsOf({ help: HELP });
  return [
    { path: [], words: program.commands, flags: plain, runs: "" },
    ...groups.map(({ name, commands }): Place => ({ path: [name], words: commands, flags: plain, runs: "" })),
    ...allCommands(program).map(({ path, command }): Place => ({
      path,
      words: [],
      flags: flagsOf(ofCommand(command)),
      runs: runsOf(command),
    })),
  ];
}

/** A run stands for its model and its adapter. */
function runsOf({ arguments: taken }: Command): Place["runs"] {
  const values = Object.values(taken).map(({ value }) => value);
  if (values.includes("RUN")) return "only";
  return values.some((value) => ["MODEL", "BASE", "ADAPTER"].includes(value)) ? "too" : "";
}

type Listed = Readonly<Record<string, Pick<Option<unknown>, "short" | "help" | "form" | "choices" | "value">>>;

function ofCommand({ options, hidden }: Command): Listed {
  return { ...options, help: HELP, ...(hidden.length > 0 && { helpAll: HELP_ALL }) };
}

function flagsOf(options: Listed): readonly Flag[] {
  const all = Object.entries({ ...options, ...GLOBAL_OPTIONS });
  return all.map(([key, { short, help, form, choices, value }]) => ({
    long: `--${flagName(key)}`,
    short: short === "" ? "" : `-${short}`,
    help,
    takesValue: form === "value",
    choices,
    isOfRun: form === "optional" && value === "RUN",
  }));
}

const HELP = { short: "h", help: "show help", form: "flag", choices: [], value: "" } as const;
const HELP_ALL = { ...HELP, short: "", help: "show help with every option" } as const;

/** bash: words by place, values by place and flag; file names wherever nothing better is known. */
function bash(program: Program): string {
  const all = places(program);
  const steps = all.filter(({ path }) => path.length > 0).map(({ path }) => shellQuote(path.join(" ")));
  const offers = all.map(({ path, words, flags, runs }) => {
    const names = [...words.map(({ name }) => name), ...flags.map(({ long }) => long)];
    return `    ${shellQuote(path.join(" "))}) words='${names.join(" ")}' runs='${runs}' ;;`;
  });
  const resumed = all.flatMap(({ path, flags }) =>
    flags.filter(({ isOfRun }) => isOfRun).map(({ long }) => shellQuote([...path, long].join(" "))),
  );
  const values = all.flatMap(({ path, flags }) =>
    flags
      .filter(({ takesValue }) => takesValue)
      .flatMap(({ long, short, choices }) =>
        [long, short]
          .filter(Boolean)
          .map((flag) => `    ${shellQuote([...path, flag].join(" "))}) values='${choices.join(" ")}' ;;`),
      ),
  );
  return `_${program.name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" prefix='' place='' word words='' values='-' runs='' run=''
  # --flag=value is three words where bash breaks them at =, as it does by default, and one elsewhere.
  if [[ $current == = ]]; then current=''
  elif [[ $before == = ]]; then before="\${COMP_WORDS[COMP_CWORD-2]}"
  elif [[ $current == --*=* ]]; then before="\${current%%=*}" prefix="\${current%%=*}=" current="\${current#*=}"
  fi
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${place:+$place }$word" in
    ${steps.join("|")}) place="\${place:+$place }$word" ;;
    esac
  done
  case "\${place:+$place }$before" in
${values.join("\n")}
  esac
  case "$place" in
${offers.join("\n")}
  esac
  case "\${place:+$place }$before" in
  ${resumed.join("|")}) runs=only ;;
  esac
  COMPREPLY=()
  if [[ $values != - ]]; then
    [[ -n $values ]] && COMPREPLY=($(compgen -P "$prefix" -W "$values" -- "$current"))
  elif [[ $current == -* || $words != --* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  elif [[ -n $runs ]]; then
    for run in runs/*/run.json; do
      run="\${run%/run.json}"
      [[ -e $run/run.json && $run == "$current"* ]] && COMPREPLY+=("$prefix$run")
    done
    # Beside runs what bash would offer by itself where there are none.
    if [[ $runs == too && \${#COMPREPLY[@]} -gt 0 ]]; then
      local IFS=$'\\n'
      COMPREPLY+=($(compgen -f -- "$current"))
    fi
    compopt -o filenames 2>/dev/null
  fi
}
complete -o bashdefault -o default -F _${program.name} ${program.name}
`;
}

/** zsh: one `_arguments` call a place. */
function zsh(program: Program): string {
  const listRuns = `_${program.name}_runs`;
  const cases = places(program).map(({ path, words, flags, runs }) => {
    const lines = flags.flatMap(({ long, short, help, takesValue, choices, isOfRun }) => {
      if (isOfRun) return [shellQuote(`*${long}[${zshDescribe(help)}]::run:${listRuns}`)];
      const value = takesValue ? `:value:${choices.length > 0 ? `(${choices.join(" ")})` : "_files"}` : "";
      // Behind = the value may stand in the same word, or in the next.
      const spellings = [takesValue ? `${long}=` : long, short].filter(Boolean);
      return spellings.map((flag) => shellQuote(`*${flag}[${zshDescribe(help)}]${value}`));
    });
    const offers = words.map(({ name, summary }) => shellQuote(`${name}:${summary}`)).join(" ");
    const file = { "": "_files", too: `{ ${listRuns}; _files }`, only: listRuns }[runs];
    const options = ["_arguments", ...lines, `'*:file:${file}'`].join(" \\\n        ");
    const commands = `local -a offers=(${offers})
      if [[ \${words[CURRENT]} != -* ]]; then _describe command offers; return; fi
      `;
    return `    ${shellQuote(path.join(" "))})
      ${words.length > 0 ? commands : ""}${options}
      ;;`;
  });
  const steps = places(program).flatMap(({ path }) => (path.length > 0 ? [shellQuote(path.join(" "))] : []));
  return `#compdef ${program.name}
${listRuns}() {
  local -a runs=(runs/*/run.json(N:h))
  compadd -f -a runs
}
_${program.name}() {
  local place='' word
  local -i start=1 index
  for (( index = 2; index < CURRENT; index++ )); do
    word="\${place:+$place }\${words[index]}"
    case "$word" in
    ${steps.join("|")}) place="$word"; start=index ;;
    esac
  done
  # Options are completed as if the command's last word were the program itself.
  words=("\${(@)words[start,-1]}")
  (( CURRENT -= start - 1 ))
  case "$place" in
${cases.join("\n")}
  esac
}
# Autoloaded from fpath, this file is the function's first call.
if [[ \${funcstack[1]} == _${program.name} ]]; then _${program.name} "$@"; else compdef _${program.name} ${program.name}; fi
`;
}

/** fish: one `complete` line a word or flag. */
function fish(program: Program): string {
  const listed = `(for run in runs/*/run.json; string replace /run.json '' $run; end)`;
  const lines = places(program).flatMap(({ path, words, flags, runs }) => {
    const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`);
    const none = words.length > 0 ? [`not __fish_seen_subcommand_from ${words.map(({ name }) => name).join(" ")}`] : [];
    const condition = fishQuote([...seen, ...none].join("; and "));
    const start = `complete -c ${program.name} -n ${condition}`;
    return [
      ...words.map(({ name, summary }) => `${start} -f -a ${name} -d ${fishQuote(summary)}`),
      ...(runs === "" ? [] : [`${start} ${runs === "only" ? "-f " : ""}-a ${fishQuote(listed)}`]),
      ...flags.map(({ long, short, help, takesValue, choices }) => {
        const letter = short === "" ? "" : ` -s ${short.slice(1)}`;
        const value = choices.length > 0 ? ` -x -a ${fishQuote(choices.join(" "))}` : takesValue ? " -r" : "";
        return `${start} -l ${long.slice(2)}${letter}${value} -d ${fishQuote(help)}`;
      }),
    ];
  });
  return `${lines.join("\n")}\n`;
}

/** A word in single quotes for bash and zsh. */
function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Text inside the brackets of `_arguments`. */
function zshDescribe(text: string): string {
  return text.replace(/[[\]\\:]/g, "\\$&");
}

function fishQuote(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}
