// A run on images that is killed at some instants comes to what an uninterrupted one comes to.
import { beforeAll, expect, test } from "bun:test";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { writeWiderDinov2 } from "../src/models/vision/testing/folder.ts";
import { cleanEnvironment } from "../src/files/testing/process.ts";
import { outcomeOf } from "../src/train/testing/runs.ts";
import { ImageFolder } from "./testing/image-data.ts";

const place = await ImageFolder.forTests();

/** Other images in each epoch, in another order, parts of which are seen, and one that cannot be read. */
const RUN =
  "--head linear --method randlora --rank 2 --targets q_proj,fc1 --dropout 0.1 --batch-size 5 --grad-accum 2 --epochs 8 " +
  "--learning-rate 1e-2 --head-learning-rate 2e-2 --augment crop-flip --skip-bad-images --save-every 2 --eval-every 5";

/**
 * Trains, or goes on.
 * @param kill how many lines of its output come before it is killed, and milliseconds after those
 */
async function run(args: readonly string[], kill?: { readonly after: number; readonly delay: number }) {
  const main = join(import.meta.dir, "main.ts");
  const child = Bun.spawn([process.execPath, main, "finetune", ...args, "--device", "cpu", "--verbose"], {
    cwd: place.path,
    env: cleanEnvironment(),
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  let text = "";
  let isSent = false;
  for await (const piece of child.stderr.pipeThrough(new TextDecoderStream())) {
    text += piece;
    if (kill === undefined || isSent || text.split("\n").length - 1 < kill.after) continue;
    isSent = true;
    setTimeout(() => child.kill("SIGKILL"), kill.delay);
  }
  await child.exited;
  return { status: child.exitCode, text };
}

beforeAll(async () => {
  await writeWiderDinov2(place.at("wider"));
  await cp(join(import.meta.dir, "../fixtures/images/half.jpg"), place.at("data", "train", "dog", "half.jpg"));
});

test.each([
  ["dinov2", RUN, 5],
  ["wider", `${RUN} --quantize q8`, 3],
] as const)(
  "killed at some instants: %s %s",
  async (model, flags, most) => {
    const fresh = (name: string) => [
      place.at(model),
      "--data",
      place.at("data"),
      ...flags.split(" "),
      "--out",
      place.at(name),
    ];
    const whole = await run(fresh(`${model}-whole`));
    expect([whole.status, whole.text]).toEqual([0, expect.stringContaining("step 24: saved")]);
    const wanted = await outcomeOf(place.at(`${model}-whole`));
    delete wanted["loss.svg"];
    const name = `${model}-killed`;
    let kills = 0;
    for (let attempt = 0; kills < most; attempt++) {
      const isThere = await Bun.file(place.at(name, "run.json")).exists();
      const args = isThere ? ["--resume", place.at(name)] : fresh(name);
      // Some while it starts, others after each few lines of what it says.
      const kill = { after: attempt % 4 === 3 ? 1 : 4 + attempt, delay: (attempt * 7) % 23 };
      const { status, text } = await run(args, kill);
      if (status === null) kills++;
      else expect([status, text]).toEqual([0, expect.any(String)]);
      if (status === 0) break;
    }
    expect(kills).toBeGreaterThan(2);
    expect((await run(["--resume", place.at(name)])).status).toBe(0);
    const found = await outcomeOf(place.at(name));
    delete found["loss.svg"];
    expect(found).toEqual(wanted);
  },
  180_000,
);
