/** `1234567` → "1,234,567"; fractions keep `digits` places. */
export function formatNumber(value: number, digits = 0): string {
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A count of things: "0 layers", "1 layer", "1,234 layers". @param noun one of them, whose plural ends with s alone */
export function formatAmount(count: number, noun: string): string {
  return `${formatNumber(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Bytes in powers of 1000, three significant digits: "512 B", "1.90 GB". */
export function formatBytes(value: number): string {
  return value < 1000 ? `${Math.round(value)} B` : scaled(value, ["kB", "MB", "GB", "TB", "PB"]);
}

/** Counts in powers of 1000, three significant digits: "999", "2.07 M", "1.10 B". */
export function formatCount(value: number): string {
  return value < 1000 ? String(Math.round(value)) : scaled(value, ["K", "M", "B", "T"]);
}

/** Seconds as people say them: "0.004 s", "1.25 s", "42.0 s", "2:05", "1:02:03". */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  if (seconds < 0.0995) return `${seconds.toFixed(3)} s`;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  return formatClock(seconds);
}

/** Seconds as on a clock: "0:03", "2:05", "1:02:03". */
export function formatClock(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const whole = Math.round(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours > 0 ? `${hours}:${twoDigits(minutes)}:${twoDigits(whole % 60)}` : `${minutes}:${twoDigits(whole % 60)}`;
}

/** How long ago something was, in its largest unit: "40 s ago", "5 min ago", "3 h ago", "2 days ago". */
export function formatAge(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${formatNumber(Math.floor(seconds / 86_400))} days ago`;
}

/** A number from a measurement, four significant digits, in exponent form where that is shorter: "0.03125", "2.100e-7". */
export function formatMeasure(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  return size < 1e-4 || size >= 1e6 ? value.toExponential(3) : String(Number(value.toPrecision(4)));
}

/** 0.1234 → "12.3 %"; never "100.0 %" for less than everything, nor "0.0 %" for more than nothing. */
export function formatShare(share: number): string {
  const percent = share * 100;
  if (share < 1 && percent > 99.95) return "> 99.9 %";
  if (share > 0 && percent < 0.05) return "< 0.1 %";
  return `${percent.toFixed(1)} %`;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}

function scaled(value: number, units: readonly string[]): string {
  let size = value / 1000;
  let unit = 0;
  // 999.5 would print as "1000": the next unit is due.
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  const digits = size < 9.995 ? 2 : size < 99.95 ? 1 : 0;
  return `${size.toFixed(digits)} ${units[unit] ?? ""}`;
}
