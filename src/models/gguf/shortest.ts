/** The decimal number of the fewest digits that is this one in f32: 1e-5, not 9.99999974737875e-6. */
export function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
