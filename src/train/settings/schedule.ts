/** transformers' names; `constant` with a warm-up is its `constant_with_warmup`. */
export const SCHEDULES = ["constant", "linear", "cosine"] as const;
export type ScheduleName = (typeof SCHEDULES)[number];

export interface ScheduleSettings {
  readonly schedule: ScheduleName;
  readonly learningRate: number;
  /** Steps over which the rate rises from 0. */
  readonly warmup: number;
}

/**
 * The learning rate of a step (from 1) of a run of `total` steps: transformers' `get_scheduler`
 * (optimization.py, _get_*_schedule_with_warmup_lr_lambda), where step s is taken with lr_lambda(s − 1).
 */
export function learningRateAt(settings: ScheduleSettings, step: number, total: number): number {
  return settings.learningRate * factor(settings, step - 1, total);
}

/** For the user, where the rate of a run of `total` steps rises to its end and stays below what was asked for. */
export function notesOfWarmup(settings: ScheduleSettings, total: number): string[] {
  const { warmup, learningRate } = settings;
  if (warmup < total || total === 0) return [];
  const highest = Number(learningRateAt(settings, total, total).toPrecision(3));
  return [
    `--warmup ${warmup}: the run has ${total} steps, so its learning rate ends at ${highest} and never reaches ${learningRate}`,
  ];
}

/** The same for a run, and for the heads in it, whose peak may be another. */
export function ratesAt(
  settings: ScheduleSettings & { readonly images: { readonly headLearningRate: number | null } | null },
  step: number,
  total: number,
): { readonly learningRate: number; readonly headRate: number } {
  const headRate = settings.images?.headLearningRate ?? settings.learningRate;
  return {
    learningRate: learningRateAt(settings, step, total),
    headRate: learningRateAt({ ...settings, learningRate: headRate }, step, total),
  };
}

function factor({ schedule, warmup }: ScheduleSettings, done: number, total: number): number {
  if (done < warmup) return done / Math.max(1, warmup);
  if (schedule === "constant") return 1;
  const rest = Math.max(1, total - warmup);
  if (schedule === "linear") return Math.max(0, (total - done) / rest);
  return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * ((done - warmup) / rest))));
}
