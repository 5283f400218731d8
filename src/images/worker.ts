// A thread that reads and prepares pictures: an entry point of its own in the compiled program (scripts/build.ts).
import { runJob } from "./job.ts";
import { answerOf, type Question } from "./pool-messages.ts";

declare const self: Worker;

self.addEventListener("message", async ({ data: { id, job } }: MessageEvent<Question>) => {
  try {
    const bytes = new Uint8Array(await runJob(job));
    self.postMessage({ id, bytes }, [bytes.buffer]);
  } catch (thrown) {
    self.postMessage(answerOf(id, thrown), []);
  }
});
