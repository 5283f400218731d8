/** The same keys with other values, in their order. */
export function mapValues<K extends string, T, U>(
  of: Readonly<Record<K, T>>,
  value: (one: T, key: K) => U,
): Record<K, U> {
  const entries = Object.entries<T>(of).map(([key, one]) => [key, value(one, key as K)] as const);
  return Object.fromEntries(entries) as Record<K, U>;
}
