// Run by killed-run.ts as a process of its own: `bun testing/run.ts RUN DATA`. Trains into RUN, or goes on with it, and
// prints a line for each thing that happens. SIGTERM stops it after the step.
import { RandloraError } from "../../files/errors.ts";
import { Recording, settingsFor, trainInto } from "./runs.ts";

const [run = "", data = ""] = process.argv.slice(2);
const say = (line: string) => process.stdout.write(`${line}\n`);

class Speaking extends Recording {
  override start(): void {
    say("started");
  }
  override saved(step: number): void {
    say(`saved ${step}`);
  }
}

const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());
const recording = new Speaking();
recording.onStep = (step) => say(`step ${step}`);
try {
  // Saved at every other step, so that a kill often meets a save.
  const settings = await settingsFor({ data, validSplit: 0.2, steps: 12, saveEvery: 2, evalEvery: 5, rank: 8 });
  const { result } = await trainInto(run, settings, recording, stop.signal);
  say(result.ending);
} catch (thrown) {
  if (!(thrown instanceof RandloraError)) throw thrown;
  say(`${thrown.code}: ${thrown.message}`);
  process.exitCode = 1;
}
