/** Shares of the three corners in a point's weights; their sum is 1. */
export type Shares = readonly [a: number, b: number, c: number];

/** The three corners in the plane's coordinates, as the authors' loss_barrier.py has them. */
export const CORNERS = [
  [0, 0],
  [0.5, 1],
  [1, 0],
] as const;

/** The shares at a place of the plane. */
export function sharesAt(x: number, y: number): Shares {
  return [1 - x - y / 2, y, x - y / 2];
}

/** Places along one axis: from + i · (to − from) / count, the end left out, as numpy's arange. */
export function placesOf([from, to]: readonly [number, number], count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + (i * (to - from)) / count);
}

export interface LossOptions {
  /** Told the tokens, or the images, of each pass. */
  readonly onItems?: (items: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The mean loss of a model whose weights lie in the plane of three variants: W0 + aΔA + bΔB + cΔC. Because a + b + c is 1
 * that is aW_A + bW_B + cW_C, so what the corners have different is held three times in F32, and a point needs nothing
 * of the base.
 */
export interface Plane extends Disposable {
  /**
   * In nats; may overflow far from the corners.
   * @throws RandloraError `gpu`, `memory`; the signal's reason when it is aborted
   */
  loss(shares: Shares, options?: LossOptions): Promise<number>;
}
