import type { TrainedMethod } from "../method/method.ts";
import { METHODS } from "../methods.ts";

/** Makes a method one of the program's, as its line in `methods.ts` would, until it is disposed. */
export function registered(method: TrainedMethod): Disposable {
  const all = METHODS as TrainedMethod[];
  all.push(method);
  return { [Symbol.dispose]: () => void all.splice(all.indexOf(method), 1) };
}
