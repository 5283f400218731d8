/** Long work that pauses every few milliseconds at most, with its result. */
export type Steps<T> = Generator<undefined, T, undefined>;

/** Milliseconds after which signals, timers and the GPU get their turn. */
const TURN = 30;

/** Does the work in one go. */
export function finishSteps<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/**
 * Does the work without keeping the process from anything else.
 * @throws the signal's reason when it was aborted
 */
export async function takeSteps<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  let turn = performance.now() + TURN;
  for (;;) {
    signal?.throwIfAborted();
    const step = steps.next();
    if (step.done === true) return step.value;
    if (performance.now() < turn) continue;
    await new Promise<void>((resolve) => setImmediate(resolve));
    turn = performance.now() + TURN;
  }
}
