import type { DeviceBuffer } from "../device/device.ts";
import { recordAdded } from "./elementwise.ts";
import { recordZero } from "./fill.ts";
import { intersection, type Rectangle, rectangleOf, viewOf, without } from "./rectangle.ts";
import type { Run } from "./run.ts";
import type { Tensor } from "./tensor.ts";

/** Where a backward pass writes one gradient. */
export interface Target {
  /** What is to be assigned, or added to. */
  readonly into: Tensor;
  /** Records what follows: sums, where something was there before. */
  finish(): void;
}

/** Something that gradients go to. */
export interface Gradient {
  /** Does any element of this view want a gradient? */
  wants(view: Tensor): boolean;
  /**
   * Where ∂loss/∂view is to be written.
   * @param adds it will be added to what is there
   */
  target(run: Run, view: Tensor, adds: boolean): Target;
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

  constructor(buffer: DeviceBuffer, pitch: number) {
    this.#size = buffer.size;
    this.#pitch = pitch;
  }

  wants(): boolean {
    return true;
  }

  target(run: Run, view: Tensor, adds = false): Target {
    const region = rectangleOf(view, this.#pitch);
    const mine = this.#view(run, view);
    if (adds) {
      this.#fill(run, region);
      return { into: mine, finish: () => {} };
    }
    if (this.#written.every((other) => intersection(region, other) === undefined)) {
      this.#written.push(region);
      return { into: mine, finish: () => {} };
    }
    const into = run.allocate("gradient", view.shape);
    const finish = () => {
      this.#fill(run, region);
      recordAdded(run, into, mine);
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
  /** The matrix that the parameter is a view of: elements before it in the buffer, and from row to row. */
  readonly origin: number;
  readonly pitch: number;
  readonly region: Rectangle;
  readonly begin: number;
  readonly end: number;
  readonly gradient: Tensor;
}

/** The gradients of parameters, views of one buffer: everything is added to what the caller's tensors hold. */
export class ParameterGradient implements Gradient {
  readonly #watched: Watched[] = [];

  /** @param origin elements before the matrix that `parameter` is a view of: several may lie in one buffer */
  add(parameter: Tensor, gradient: Tensor, origin: number): void {
    const { pitch } = parameter;
    const region = regionOf(parameter, { origin, pitch });
    this.#watched.push({ origin, pitch, region, ...extentOf(parameter), gradient });
  }

  wants(view: Tensor): boolean {
    return this.#watchedIn(view).length > 0;
  }

  target(run: Run, view: Tensor, adds = false): Target {
    const sum = adds ? this.#sumOf(view) : undefined;
    if (sum !== undefined) return { into: sum, finish: () => {} };
    const into = run.allocate("gradient", view.shape);
    if (adds) recordZero(run, into);
    const finish = () => {
      for (const { watched, part } of this.#watchedIn(view)) {
        const { gradient, region } = watched;
        const source = viewOf(into, relative(part, regionOf(view, watched)), into.pitch);
        const sum = viewOf(gradient, relative(part, region), gradient.pitch);
        recordAdded(run, source, sum);
      }
      run.release(into);
    };
    return { into, finish };
  }

  /** The one tensor that takes the gradients of a whole view; undefined where there are several, or parts are not watched. */
  #sumOf(view: Tensor): Tensor | undefined {
    const [found, ...others] = this.#watchedIn(view);
    if (found === undefined || others.length > 0) return undefined;
    const { watched, part } = found;
    const { rows, cols } = regionOf(view, watched);
    if (part.rows !== rows || part.cols !== cols) return undefined;
    const { gradient, region } = watched;
    return { ...viewOf(gradient, relative(part, region), gradient.pitch), shape: view.shape };
  }

  /** What of this view is watched. Matrices that lie beside each other may have rows of different pitches. */
  #watchedIn(view: Tensor): { watched: Watched; part: Rectangle }[] {
    const { begin, end } = extentOf(view);
    return this.#watched.flatMap((watched) => {
      if (end <= watched.begin || begin >= watched.end) return [];
      const part = intersection(regionOf(view, watched), watched.region);
      return part === undefined ? [] : [{ watched, part }];
    });
  }
}

/** A view in the frame of the matrix that it is of. */
function regionOf(view: Tensor, { origin, pitch }: Pick<Watched, "origin" | "pitch">): Rectangle {
  return rectangleOf({ ...view, offset: view.offset - origin }, pitch);
}

/** Elements of the buffer from the view's first to its last. */
function extentOf({ offset, pitch, shape }: Tensor): { begin: number; end: number } {
  return { begin: offset, end: offset + (shape[0] - 1) * pitch + shape[1] };
}

function relative(part: Rectangle, whole: Rectangle): Rectangle {
  return { ...part, row: part.row - whole.row, col: part.col - whole.col };
}
