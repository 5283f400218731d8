/**
 * Dawn waits for the GPU by re-queuing itself with `globalThis.setImmediate` until its promise settles: a loop that
 * keeps one core at 100 %. On a machine whose GPU is its CPU that core is half the GPU. Here that loop is slowed down:
 * the first ticks stay immediate (tiny work keeps its latency), later ones sleep a little before they run.
 */

/** Ticks that are never delayed, counted since the last time that any GPU promise settled. */
const IMMEDIATE_TICKS = 64;
/** Milliseconds: the first sleep, its growth per tick, and its end. */
const FIRST_SLEEP = 0.02;
const GROWTH = 1.05;
const LONGEST_SLEEP = 1;

const state = { installed: false, ticks: 0, sleep: FIRST_SLEEP };

/** Starts a new wait: the next ticks are immediate again. Called whenever GPU work was submitted or has finished. */
export function resetPace(): void {
  state.ticks = 0;
  state.sleep = FIRST_SLEEP;
}

/** Installs the pacing; later calls do nothing. Callbacks of JavaScript functions pass through untouched. */
export function paceTicks(): void {
  if (state.installed) return;
  state.installed = true;
  const immediate = globalThis.setImmediate;
  const paced = (callback: (...values: unknown[]) => void, ...values: unknown[]) => {
    if (isDawnTick(callback, values)) {
      state.ticks += 1;
      if (state.ticks > IMMEDIATE_TICKS) {
        Bun.sleepSync(state.sleep);
        state.sleep = Math.min(state.sleep * GROWTH, LONGEST_SLEEP);
      }
    }
    return immediate(callback, ...values);
  };
  globalThis.setImmediate = Object.assign(paced, immediate);
}

/**
 * Dawn passes an anonymous native function that takes nothing, without arguments. The `resolve` of a promise is native
 * and anonymous too, but takes one.
 */
function isDawnTick(callback: unknown, values: readonly unknown[]): boolean {
  return (
    typeof callback === "function" &&
    callback.name === "" &&
    callback.length === 0 &&
    values.length === 0 &&
    Function.prototype.toString.call(callback).endsWith("{ [native code] }")
  );
}
