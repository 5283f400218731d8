type Keywords = Readonly<Record<string, unknown>>;

/** A tuple of JSON Schema up to 2019-09 in today's words; what was said of items beyond those of no tuple said nothing. */
export function inToday({ additionalItems: others, ...schema }: Keywords): Keywords {
  const { items, ...more } = schema;
  if (!Array.isArray(items)) return schema;
  const prefix = items.length === 0 ? {} : { prefixItems: items };
  return { ...more, ...prefix, ...(others === undefined ? {} : { items: others }) };
}
