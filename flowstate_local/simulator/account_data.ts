/**
 * Drive, Sheets and Calendar of one account, as far as flows change them. Contents are bounded:
 * a benchmark may append a million rows, and only the newest are kept.
 */

const KEEP = 1000;

/** A spreadsheet which every account has, with two sheets. */
export const SAMPLE_SPREADSHEET_ID = "sample-spreadsheet";

/** Numbers that look like Google's ids and never repeat within an account. */
export class Ids {
  #next = 0;

  constructor(readonly prefix: string) {}

  next(): string {
    return `${this.prefix}${(++this.#next).toString(36).padStart(8, "0")}`;
  }
}

export function keepNewest<T>(list: T[], item: T): void {
  list.push(item);
  if (list.length > 2 * KEEP) list.splice(0, KEEP);
}

export interface StoredFile {
  id: string;
  name: string;
  mimeType: string;
  bytes: number;
  folder: string | null;
}

export class Drive {
  readonly ids = new Ids("1file");
  readonly folders = new Map<string, string>();
  readonly files: StoredFile[] = [];
}

export interface StoredSheet {
  name: string;
  rowCount: number;
  newestRows: unknown[][];
}

export class Sheets {
  readonly books = new Map<string, StoredSheet[]>([
    [
      SAMPLE_SPREADSHEET_ID,
      ["Sheet1", "Archive"].map((name) => ({
        name,
        rowCount: 0,
        newestRows: [],
      })),
    ],
  ]);
}

export interface StoredEvent {
  id: string;
  title: string;
  startMs: number;
  endMs: number;
  guests: string[];
}

export class Calendar {
  readonly ids = new Ids("event");
  readonly events: StoredEvent[] = [];
}
