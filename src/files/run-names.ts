/** A run's settings, in its folder. */
export const SETTINGS_FILE = "run.json";
/** What its steps and evaluations came to. */
export const METRICS_FILE = "metrics.jsonl";
