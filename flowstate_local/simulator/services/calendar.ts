/** CalendarApp, as far as Code.gs needs it: the default calendar and its events. */
import { keepNewest, type StoredEvent } from "../account_data.ts";
import { Exception, type Run } from "../run.ts";

interface EventOptions {
  description?: string;
  location?: string;
  guests?: string;
  sendInvites?: boolean;
}

class CalendarEvent {
  constructor(readonly stored: StoredEvent) {}

  getId(): string {
    return this.stored.id;
  }
}

class Calendar {
  constructor(readonly run: Run) {}

  createEvent(title: string, start: Date, end: Date, options: EventOptions = {}): CalendarEvent {
    this.run.use("calendar", 250);
    if (end.getTime() < start.getTime()) {
      throw new Exception("Event start date must be before event end date.");
    }
    const { calendar } = this.run.owner;
    const stored: StoredEvent = {
      id: `${calendar.ids.next()}@google.com`,
      title,
      startMs: start.getTime(),
      endMs: end.getTime(),
      guests: options.guests ? options.guests.split(",") : [],
    };
    keepNewest(calendar.events, stored);
    this.run.effect("calendar.event", [
      title,
      stored.startMs,
      stored.endMs,
      options.description ?? "",
      options.location ?? "",
      options.guests ?? "",
    ]);
    return new CalendarEvent(stored);
  }
}

export class CalendarApp {
  constructor(readonly run: Run) {}

  getDefaultCalendar(): Calendar {
    this.run.use("calendar", 50);
    return new Calendar(this.run);
  }

  /** The account's own address names its default calendar; there are no others. */
  getCalendarById(id: string): Calendar | null {
    this.run.use("calendar", 50);
    return id === this.run.owner.name ? new Calendar(this.run) : null;
  }
}
