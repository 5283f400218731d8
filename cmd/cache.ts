import { existsSync } from "node:fs";
import { RandloraError } from "../src/files/errors.ts";
import { oneLine } from "../src/files/failure.ts";
import { parseRepository } from "../src/files/hub/name.ts";
import { type Context, defineCommand, defineGroup, required } from "../src/terminal/options/command.ts";
import { nearest } from "../src/files/nearest.ts";
import { EMBEDDED } from "../src/models/folder/locate.ts";
import { formatAmount, formatBytes } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";

/** `randlora pull`. */
export const pullCommand = defineCommand({
  name: "pull",
  otherNames: ["download", "fetch"],
  summary: "Fetch a model or an adapter from the Hub, and print its folder",
  example: "randlora pull HuggingFaceTB/SmolLM2-135M-Instruct",
  arguments: { name: required("NAME", "org/name, or org/name@revision (a branch, a tag, a commit)") },
  options: {},
  async run({ name }, _, context) {
    const parsed = parseRepository(name);
    if (parsed === undefined) {
      throw new RandloraError(
        "usage",
        `${oneLine(name)} is not a name on the Hub`,
        "a name is org/name, or org/name@revision",
      );
    }
    const { showingDownloads } = await import("../src/files/hub/report.ts");
    const { resolveRepository } = await import("../src/files/hub/resolve.ts");
    const path = await showingDownloads(context, (options) => resolveRepository(parsed, options));
    const json: PulledJson = { name, path };
    context.result(json, () => `${path}\n`);
  },
});

const LISTING = {
  name: "list",
  otherNames: ["ls"],
  summary: "List the models and adapters in the Hub cache",
  arguments: {},
  options: {},
  async run(_: unknown, __: unknown, context: Context): Promise<void> {
    const { cacheDir, repositories } = await scan();
    const bytes = repositories.reduce((sum, repository) => sum + repository.bytes, 0);
    const data: ListJson = {
      cache: cacheDir,
      bytes,
      repositories: repositories.map((repository) => ({
        name: repository.repo,
        path: repository.path,
        bytes: repository.bytes,
        incomplete_bytes: repository.incompleteBytes,
        last_used: new Date(repository.lastUsedMs).toISOString(),
        revisions: repository.revisions.map(({ commit, refs, path, files, bytes }) => ({
          commit,
          refs,
          path,
          files,
          bytes,
        })),
      })),
    };
    context.result(data, () => {
      if (repositories.length === 0) return `nothing in ${cacheDir}\n`;
      const rows = repositories.map((repository) => [
        repository.repo,
        formatBytes(repository.bytes),
        new Date(repository.lastUsedMs).toISOString().slice(0, 10),
        repository.revisions.map(({ commit, refs }) => [...refs, commit.slice(0, 7)].join(" ")).join(", "),
        repository.incompleteBytes > 0 ? `${formatBytes(repository.incompleteBytes)} unfinished` : "",
      ]);
      const head = ["name", "size", "last used", "revisions"];
      const table = formatTable(rows, { head, align: "lr", columns: context.columns, markHead: context.style.dim });
      return `${table}${formatBytes(bytes)} in ${cacheDir}\n`;
    });
  },
};

/** @json list */
interface ListJson {
  /** Folder of the cache. */
  readonly cache: string;
  readonly bytes: number;
  readonly repositories: readonly {
    readonly name: string;
    readonly path: string;
    readonly bytes: number;
    readonly incomplete_bytes: number;
    readonly last_used: string;
    readonly revisions: readonly {
      readonly commit: string;
      readonly refs: readonly string[];
      readonly path: string;
      readonly files: number;
      readonly bytes: number;
    }[];
  }[];
}

/** `randlora list`. */
export const listCommand = defineCommand({ ...LISTING, example: "randlora list" });
const list = defineCommand({ ...LISTING, example: "randlora cache list" });

const REMOVAL = {
  summary: "Remove a model, an adapter or a revision from the Hub cache",
  arguments: { name: required("NAME", "org/name, or org/name@revision (a branch, a tag, a commit)") },
  options: {},
  async run({ name }: { readonly name: string }, _: unknown, context: Context): Promise<void> {
    const { cacheDir, repositories } = await scan();
    // Removed whole unless a revision is written, even @main: only then is the text longer than the repository's name.
    const parsed = parseRepository(name);
    const repository = repositories.find(({ repo }) => repo === (parsed?.repo ?? name));
    if (repository === undefined) throw unknownName(name, cacheDir, repositories);
    const { removeCached } = await import("../src/files/hub/remove.ts");
    const removal = await removeCached(repository, repository.repo === name ? undefined : parsed?.revision);
    report(context, name, removal);
  },
};

/** `randlora rm`. */
export const removeCommand = defineCommand({
  name: "rm",
  otherNames: ["remove", "delete"],
  example: "randlora rm HuggingFaceTB/SmolLM2-135M-Instruct",
  ...REMOVAL,
});

const remove = defineCommand({
  name: "remove",
  otherNames: ["rm"],
  example: "randlora cache remove HuggingFaceTB/SmolLM2-135M-Instruct",
  ...REMOVAL,
});

/** `randlora cache list`, `randlora cache remove`: the same. */
export const command = defineGroup({
  name: "cache",
  summary: "Show or clean the cache of models fetched from the Hub",
  commands: [list, remove],
});

/** @json pull */
interface PulledJson {
  readonly name: string;
  readonly path: string;
}

/** @json rm */
interface RemovedJson {
  readonly name: string;
  readonly commits: readonly string[];
  /** Freed. */
  readonly bytes: number;
  /** All revisions? */
  readonly whole: boolean;
}

async function scan() {
  const { hubSettings } = await import("../src/files/hub/settings.ts");
  const { scanCache } = await import("../src/files/hub/scan.ts");
  const { cacheDir } = hubSettings();
  return { cacheDir, repositories: await scanCache(cacheDir) };
}

function unknownName(
  name: string,
  cacheDir: string,
  repositories: readonly { readonly repo: string }[],
): RandloraError {
  const shown = oneLine(name);
  if (name === EMBEDDED) {
    const cause = `${EMBEDDED} is the model inside the program: it is in no cache and cannot be removed`;
    return new RandloraError("file", cause, "`randlora list` shows the models that can be");
  }
  if (existsSync(name)) {
    const hint = "`randlora runs rm` removes runs; other folders are yours to remove";
    return new RandloraError("file", `${shown} is on this disk, not in the cache (${cacheDir})`, hint);
  }
  const repo = parseRepository(name)?.repo ?? name;
  const names = repositories.map((repository) => repository.repo);
  // Often the owner or the size was left out.
  const near = nearest(repo, names) ?? names.find((other) => other.toLowerCase().includes(repo.toLowerCase()));
  const hint = near === undefined ? "`randlora list` shows what is there" : `did you mean ${near}?`;
  return new RandloraError("file", `${shown} is not in the cache (${cacheDir})`, hint);
}

function report(
  context: Context,
  name: string,
  removal: { readonly commits: readonly string[]; readonly bytes: number; readonly whole: boolean },
): void {
  const { commits, bytes, whole } = removal;
  const json: RemovedJson = { name, commits, bytes, whole };
  context.result(json, () => {
    const what = whole
      ? `${name} (${formatAmount(commits.length, "revision")})`
      : `${name} (commit ${commits.map((commit) => commit.slice(0, 7)).join(", ")}; other revisions stay)`;
    return `removed ${what}, ${formatBytes(bytes)} freed\n`;
  });
}
