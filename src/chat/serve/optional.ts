import * as v from "valibot";

/** May be missing; clients also send `null` for what they do not mean to say. */
export const optional = <S extends v.GenericSchema>(schema: S) => v.nullish(schema, () => undefined);
