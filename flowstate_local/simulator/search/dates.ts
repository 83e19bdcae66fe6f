/**
 * Dates in queries. `after:` includes its day and `before:` excludes it, both meaning midnight in
 * the mailbox's time zone, which is UTC here. Comparisons with an unreadable date are false.
 */

/** The moment that 2025/3/9, 2025-03-09, 3/9/2025 or a number of Unix seconds names; else NaN. */
export function dateBound(value: string): number {
  if (/^\d{9,}$/.test(value)) return Number(value) * 1000;
  const yearFirst = /^(\d{4})[/-](\d{1,2})[/-](\d{1,2})$/.exec(value);
  if (yearFirst) return midnight(yearFirst[1], yearFirst[2], yearFirst[3]);
  const yearLast = /^(\d{1,2})[/-](\d{1,2})[/-](\d{4})$/.exec(value);
  if (yearLast) return midnight(yearLast[3], yearLast[1], yearLast[2]);
  return NaN;
}

function midnight(year: string, month: string, day: string): number {
  const at = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)));
  const exists = at.getUTCMonth() === Number(month) - 1 && at.getUTCDate() === Number(day);
  return exists ? at.getTime() : NaN;
}

/** The moment that lies 3h, 2d, 1m or 1y before now; months and years by the calendar. */
export function relativeBound(value: string, nowMs: number): number {
  const [, digits, unit] = /^(\d+)([hdmy])$/i.exec(value) ?? [];
  if (!digits) return NaN;
  const amount = Number(digits);
  const at = new Date(nowMs);
  switch (unit.toLowerCase()) {
    case "h":
      return nowMs - amount * 3_600_000;
    case "d":
      return nowMs - amount * 86_400_000;
    case "m":
      return monthsBefore(at, amount);
    default:
      return monthsBefore(at, 12 * amount);
  }
}

/** A month before 31 March is the last day of February. */
function monthsBefore(at: Date, months: number): number {
  const day = at.getUTCDate();
  const target = new Date(at);
  target.setUTCDate(1);
  target.setUTCMonth(target.getUTCMonth() - months);
  const last = new Date(Date.UTC(target.getUTCFullYear(), target.getUTCMonth() + 1, 0));
  target.setUTCDate(Math.min(day, last.getUTCDate()));
  return target.getTime();
}
