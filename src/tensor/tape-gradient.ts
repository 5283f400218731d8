import type { GpuBuffer } from "../gpu/memory.ts";
import { ELEMENTWISE } from "../kernels/elementwise.ts";
import { recordElementwise } from "./elementwise.ts";
import { recordZero } from "./fill.ts";
import { intersection, type Rectangle, rectangleOf, viewOf, without } from "./rectangle.ts";
import type { Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";

/** Where a backward pass writes one gradient. */
export interface Target {
  /** What is to be assigned. */
  readonly into: Tensor;
  /** Records what follows: sums, where something was there before. */
  finish(): void;
}

/** Something that gradients go to. */
export interface Gradient {
  /** Does any element of this view want a gradient? */
  wants(view: Tensor): boolean;
  /** Where ∂loss/∂view is to be written. */
  target(run: Run, view: Tensor): Target;
}

/**
 * The gradient of the content of one buffer that an op has filled, in a buffer of the same layout: the gradient of a view
 * is the same view of it. The first gradient that arrives for a region is assigned, later ones are added.
 */
export class ActivationGradient implements Gradient {
  readonly #size: number;
  readonly #pitch: number;
  /** Disjoint regions that hold sums. */
  readonly #written: Rectangle[] = [];
  #memory: Tensor | undefined;

  constructor(buffer: GpuBuffer, pitch: number) {
    this.#size = buffer.size;
    this.#pitch = pitch;
  }

  wants(): boolean {
    return true;
  }

  target(run: Run, view: Tensor): Target {
    const region = rectangleOf(view, this.#pitch);
    const mine = this.#view(run, view);
    if (this.#written.every((other) => intersection(region, other) === undefined)) {
      this.#written.push(region);
      return { into: mine, finish: () => {} };
    }
    const into = run.allocate("gradient", view.shape);
    const finish = () => {
      this.#fill(run, region);
      recordElementwise(run, ELEMENTWISE.accumulate, into, undefined, mine);
      run.release(into);
    };
    return { into, finish };
  }

  /** ∂loss/∂view, complete once all that read the view have been differentiated; undefined: the loss does not depend on it. */
  read(run: Run, view: Tensor): Tensor | undefined {
    const region = rectangleOf(view, this.#pitch);
    if (this.#written.every((other) => intersection(region, other) === undefined)) return undefined;
    this.#fill(run, region);
    return this.#view(run, view);
  }

  release(run: Run): void {
    if (this.#memory !== undefined) run.release(this.#memory);
    this.#memory = undefined;
    this.#written.length = 0;
  }

  /** Zeros what nothing was written to. */
  #fill(run: Run, region: Rectangle): void {
    for (const rest of without(region, this.#written)) {
      recordZero(run, viewOf(this.#whole(run), rest, this.#pitch));
      this.#written.push(rest);
    }
  }

  #view(run: Run, view: Tensor): Tensor {
    return { ...view, dtype: "F32", buffer: this.#whole(run).buffer };
  }

  #whole(run: Run): Tensor {
    this.#memory ??= run.allocate("gradient", [1, this.#size / 4]);
    return this.#memory;
  }
}

interface Watched {
  readonly region: Rectangle;
  readonly gradient: Tensor;
}

/** The gradients of parameters, views of one buffer: everything is added to what the caller's tensors hold. */
export class ParameterGradient implements Gradient {
  readonly #pitch: number;
  readonly #watched: Watched[] = [];

  constructor(pitch: number) {
    this.#pitch = pitch;
  }

  add(parameter: Tensor, gradient: Tensor): void {
    this.#watched.push({ region: rectangleOf(parameter, this.#pitch), gradient });
  }

  wants(view: Tensor): boolean {
    const region = rectangleOf(view, this.#pitch);
    return this.#watched.some((watched) => intersection(region, watched.region) !== undefined);
  }

  target(run: Run, view: Tensor): Target {
    const region = rectangleOf(view, this.#pitch);
    const into = run.allocate("gradient", view.shape);
    const finish = () => {
      for (const { region: whole, gradient } of this.#watched) {
        const part = intersection(region, whole);
        if (part === undefined) continue;
        const source = viewOf(into, relative(part, region), into.pitch);
        recordElementwise(
          run,
          ELEMENTWISE.accumulate,
          source,
          undefined,
          viewOf(gradient, relative(part, whole), gradient.pitch),
        );
      }
      run.release(into);
    };
    return { into, finish };
  }
}

function relative(part: Rectangle, whole: Rectangle): Rectangle {
  return { ...part, row: part.row - whole.row, col: part.col - whole.col };
}
