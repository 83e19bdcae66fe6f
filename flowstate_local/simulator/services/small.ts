/** The services of which Code.gs uses a single method or two. */
import type { Run } from "../run.ts";

export class TextOutput {
  mimeType = "text/plain";

  constructor(readonly content: string) {}

  getContent(): string {
    return this.content;
  }

  setMimeType(mimeType: string): TextOutput {
    this.mimeType = mimeType;
    return this;
  }
}

export class ContentService {
  readonly MimeType = { JSON: "application/json", TEXT: "text/plain" };

  createTextOutput(content = ""): TextOutput {
    return new TextOutput(content);
  }
}

export class Session {
  constructor(readonly run: Run) {}

  getActiveUserLocale(): string {
    this.run.enter(5);
    return this.run.locale;
  }
}

export class MailApp {
  constructor(readonly run: Run) {}

  getRemainingDailyQuota(): number {
    this.run.enter(20);
    return this.run.owner.limit("mail") - this.run.owner.used("mail");
  }
}

/** Logs go nowhere, but the step which the script names is the one its effects are booked to. */
export class Console {
  constructor(readonly run: Run) {}

  log(): void {}
  warn(): void {}
  error(): void {}

  info(entry: unknown): void {
    const step = (entry as { step?: unknown } | null)?.step;
    if (typeof step === "string") this.run.step = step;
  }
}
