import { RandloraError } from "../../../files/errors.ts";

/**
 * What chat templates are told that write a date (Llama 3: "Today Date: …"): the day that Llama 3's own template writes where
 * it is told none. The same command makes the same tokens on any day.
 */
export const USUAL_DATE = "2024-07-26";

/**
 * A day, at noon, or a day and time as runs of earlier versions recorded them; without a zone, so that it is the same day
 * wherever a run is resumed.
 * @throws RandloraError `usage` for anything else
 */
export function dateOf(value: string): Date {
  const date = new Date(/^\d{4}-\d\d-\d\d$/.test(value) ? `${value}T12:00:00` : value);
  const isDay = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d)?$/.test(value) && date.getDate() === Number(value.slice(8, 10));
  if (isDay) return date;
  throw new RandloraError("usage", `--date ${value}: not a day`, "write it as 2024-07-26");
}
