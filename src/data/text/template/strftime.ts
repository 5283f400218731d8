const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

/**
 * Python's `datetime.strftime` in the C locale and local time, as chat templates use it. `%-d` drops the leading zero;
 * what is unknown stays as it is written.
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([a-zA-Z%])/g, (directive: string, bare: string, letter: string) => {
    const text = expand(date, letter);
    if (text === undefined) return directive;
    return bare === "" ? text : text.replace(/^0+(?=\d)/, "");
  });
}

function expand(date: Date, letter: string): string | undefined {
  const two = (value: number) => String(value).padStart(2, "0");
  const day = DAYS[date.getDay()] ?? "";
  const month = MONTHS[date.getMonth()] ?? "";
  const hour12 = date.getHours() % 12 === 0 ? 12 : date.getHours() % 12;
  switch (letter) {
    case "a":
      return day.slice(0, 3);
    case "A":
      return day;
    case "b":
      return month.slice(0, 3);
    case "B":
      return month;
    case "d":
      return two(date.getDate());
    case "e":
      return String(date.getDate()).padStart(2, " ");
    case "F":
      return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    case "H":
      return two(date.getHours());
    case "I":
      return two(hour12);
    case "j":
      return String(dayOfYear(date)).padStart(3, "0");
    case "m":
      return two(date.getMonth() + 1);
    case "M":
      return two(date.getMinutes());
    case "p":
      return date.getHours() < 12 ? "AM" : "PM";
    case "S":
      return two(date.getSeconds());
    case "T":
      return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
    case "y":
      return two(date.getFullYear() % 100);
    case "Y":
      return String(date.getFullYear());
    case "%":
      return "%";
    default:
      return undefined;
  }
}

function dayOfYear(date: Date): number {
  const midnight = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return (midnight - Date.UTC(date.getFullYear(), 0, 1)) / 86_400_000 + 1;
}
