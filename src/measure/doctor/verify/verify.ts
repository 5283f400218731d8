import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { naming, oneLine } from "../../../files/failure.ts";
import { Publication } from "../../../files/publish.ts";
import type { Context } from "../../../terminal/options/command.ts";
import { failureOf, renderVerification, verificationJson } from "./report.ts";
import { FROM_VARIABLE, supervise } from "./supervise.ts";

/** Seconds: compilers of real drivers take some for a kernel, software GPUs and large cases more. */
const PATIENCE = 180;

/**
 * `randlora doctor --verify`: everything that the device computes against f64, and short training runs against stored
 * results; a report file.
 * @param out the report file; the next free randlora-doctor-N.json by default
 * @throws RandloraError `gpu` where anything is wrong, or no device can be opened; `file`
 */
export async function verifyDevice(out: string | undefined, force: boolean, context: Context): Promise<void> {
  const from = process.env[FROM_VARIABLE];
  if (from !== undefined) {
    const { serveChecks } = await import("./work.ts");
    return await serveChecks(context.device, Number(from), context.signal);
  }
  await using publication = await Publication.begin(resolve(out ?? nextFree()), { kind: "file", force });
  using stack = new DisposableStack();
  let began = false;
  let bar = stack.use(context.progress({ title: "verifying" }));
  const verification = await supervise({
    command: ownCommand(),
    signal: context.signal,
    patience: PATIENCE,
    onStart(items) {
      if (began) return;
      began = true;
      bar.close();
      bar = stack.use(context.progress({ title: "verifying", items, unit: "checks" }));
    },
    onCheck: ({ op, format, size }) => bar.label([op, format, size].join("  ")),
    onEnd: () => bar.add({ items: 1 }),
  });
  bar.close();
  const json = verificationJson(verification);
  await naming(publication.target, "write", writeFile(publication.partPath, `${JSON.stringify(json, null, 2)}\n`));
  await publication.commit();
  context.result(json, () => renderVerification(verification, context.columns, context.style));
  context.log.info(`report: ${oneLine(publication.target)}`);
  const failure = failureOf(verification);
  if (failure !== undefined) throw failure;
}

/** This program with these arguments; a source tree is run by Bun. */
function ownCommand(): string[] {
  const isCompiled = Bun.embeddedFiles.length > 0;
  return [process.execPath, ...(isCompiled ? [] : [Bun.main]), ...process.argv.slice(2)];
}

function nextFree(): string {
  for (let number = 1; ; number++) {
    const name = `randlora-doctor-${number}.json`;
    if (!existsSync(name)) return name;
  }
}
