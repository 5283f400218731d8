// A thread that reads and prepares images: an entry point of its own in the compiled program (scripts/build.ts).
import { runJob } from "./job.ts";
import { type Admission, type Answer, answerOf, type Question } from "./pool-messages.ts";

declare const self: Worker;

/** Jobs that wait until they may decode. */
const waiting = new Map<number, () => void>();

self.addEventListener("message", async ({ data }: MessageEvent<Question | Admission>) => {
  if ("admitted" in data) {
    waiting.get(data.admitted)?.();
    waiting.delete(data.admitted);
    return;
  }
  const { id, job } = data;
  const admit = (pixels: number) =>
    new Promise<void>((begin) => {
      waiting.set(id, begin);
      self.postMessage({ id, pixels } satisfies Answer);
    });
  try {
    const bytes = new Uint8Array(await runJob(job, admit));
    self.postMessage({ id, bytes }, [bytes.buffer]);
  } catch (thrown) {
    self.postMessage(answerOf(id, thrown), []);
  }
});
