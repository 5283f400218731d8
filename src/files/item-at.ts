/** An element that must be there: a list that is shorter than its shape says is an error, and no zeros. @throws RangeError */
export function itemAt<T>(list: ArrayLike<T>, index: number): T {
  const item = list[index];
  if (item === undefined) throw new RangeError(`element ${index} of ${list.length}`);
  return item;
}
