/** SpreadsheetApp, as far as Code.gs needs it: open by id, find a sheet, append a row. */
import { keepNewest, type StoredSheet } from "../account_data.ts";
import { Exception, type Run } from "../run.ts";

/** A cell as Sheets takes it: `=`, `+` and `-` begin a formula, an apostrophe keeps what follows as text. */
function entered(value: unknown): unknown {
  if (typeof value !== "string") return value ?? "";
  if (value.startsWith("'")) return value.slice(1);
  return /^[=+-]/.test(value) && isNaN(Number(value)) ? { formula: value } : value;
}

class Sheet {
  constructor(readonly run: Run, readonly book: string, readonly stored: StoredSheet) {}

  getName(): string {
    return this.stored.name;
  }

  appendRow(row: unknown[]): Sheet {
    this.run.use("spreadsheets", 150);
    const cells = Array.from(row, entered);
    this.stored.rowCount++;
    keepNewest(this.stored.newestRows, cells);
    this.run.effect("sheets.row", [this.book, this.stored.name, cells], true);
    return this;
  }
}

class Spreadsheet {
  constructor(readonly run: Run, readonly id: string, readonly sheets: StoredSheet[]) {}

  getSheets(): Sheet[] {
    return this.sheets.map((stored) => new Sheet(this.run, this.id, stored));
  }

  getSheetByName(name: string): Sheet | null {
    return this.getSheets().find((sheet) => sheet.getName() === name) ?? null;
  }
}

export class SpreadsheetApp {
  constructor(readonly run: Run) {}

  openById(id: string): Spreadsheet {
    this.run.use("spreadsheets", 200);
    const sheets = this.run.owner.sheets.books.get(id);
    if (!sheets) {
      throw new Exception(
        `Document ${id} is missing (perhaps it was deleted, or you don't have read access?)`,
      );
    }
    return new Spreadsheet(this.run, id, sheets);
  }
}
