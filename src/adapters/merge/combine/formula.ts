import { itemAt } from "../../../files/item-at.ts";
import { type Combination, electsSign, type MajoritySign } from "./names.ts";

/** What becomes of one element of several ΔW, of which some were left out before. */
export interface Formula {
  readonly combination: Combination;
  readonly majoritySign: MajoritySign;
}

/**
 * One element of the combination: Σ wᵢtᵢ; or, where signs are elected, the mean of those wᵢtᵢ whose tᵢ has the sign of most
 * (Yadav et al., arXiv:2306.01708; peft/utils/merge_utils.py, 0.21.2, where weights have no say in the election, and a
 * sum of zero elects the plus).
 * @param kept tᵢ, 0 where it is left out
 */
export function combined(
  { combination, majoritySign }: Formula,
  kept: ArrayLike<number>,
  weights: readonly number[],
): number {
  let sum = 0;
  if (!electsSign(combination)) {
    for (let i = 0; i < kept.length; i++) sum += itemAt(weights, i) * itemAt(kept, i);
    return sum;
  }
  const sign = vote(kept, majoritySign) >= 0 ? 1 : -1;
  let count = 0;
  for (let i = 0; i < kept.length; i++) {
    const value = itemAt(kept, i);
    if (Math.sign(value) !== sign) continue;
    sum += itemAt(weights, i) * value;
    count++;
  }
  return sum / Math.max(1, count);
}

/** Whose sign is that of most. */
export function vote(kept: ArrayLike<number>, majoritySign: MajoritySign): number {
  let votes = 0;
  for (let i = 0; i < kept.length; i++) {
    votes += majoritySign === "total" ? itemAt(kept, i) : Math.sign(itemAt(kept, i));
  }
  return votes;
}
