/** Seconds in which N processes have each other's gradients, in a ring: each link carries those of all others. */
export function gatherSeconds(parameters: number, machines: number, gigabits: number): number {
  return ((machines - 1) * 4 * parameters * 8) / (gigabits * 1e9);
}

/** The shortest step of one machine of which `machines` spend the part `efficiency` computing. */
export function longEnough(gather: number, machines: number, efficiency: number): number {
  return (machines * gather * efficiency) / (1 - efficiency);
}
