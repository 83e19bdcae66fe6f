/**
 * A Google account that owns deployments. Its 30 slots and its daily budgets are shared by all its
 * projects, and so are its mailbox, files, sheets and calendar.
 */
import type { AccountType, OwnerConfig } from "./config.ts";
import type { Clock } from "./clock.ts";
import type { Mailbox } from "./mailbox.ts";
import { Calendar, Drive, Sheets } from "./account_data.ts";

export type QuotaName = "mail" | "gmail" | "urlfetch" | "properties";

export const SLOTS = 30;
const DAY_MS = 24 * 3600 * 1000;

export const QUOTAS: Record<AccountType, Record<QuotaName, number>> = {
  consumer: { mail: 100, gmail: 20_000, urlfetch: 20_000, properties: 50_000 },
  workspace: { mail: 1_500, gmail: 50_000, urlfetch: 100_000, properties: 500_000 },
};

export class Owner {
  readonly name: string;
  accountType: AccountType;
  locale: string;
  inFlight = 0;
  drive = new Drive();
  sheets = new Sheets();
  calendar = new Calendar();
  #used: Partial<Record<QuotaName, number>> = {};
  #dayEndsAtMs = 0;

  constructor(
    config: OwnerConfig,
    readonly clock: Clock,
    public mailbox: Mailbox,
    readonly settings: { quotas: boolean },
  ) {
    this.name = config.owner;
    this.accountType = config.account_type;
    this.locale = config.locale;
  }

  limit(quota: QuotaName): number {
    return QUOTAS[this.accountType][quota];
  }

  used(quota: QuotaName): number {
    if (this.clock.ledgerNow() >= this.#dayEndsAtMs) return 0;
    return this.#used[quota] ?? 0;
  }

  /** Books usage. False when the day's budget would be exceeded; then nothing is booked. */
  spend(quota: QuotaName, amount: number): boolean {
    if (!this.settings.quotas) return true;
    const now = this.clock.ledgerNow();
    if (now >= this.#dayEndsAtMs) {
      // The day begins with the first use, not at midnight.
      this.#used = {};
      this.#dayEndsAtMs = now + DAY_MS;
    }
    const total = (this.#used[quota] ?? 0) + amount;
    if (total > this.limit(quota)) return false;
    this.#used[quota] = total;
    return true;
  }

  reset(mailbox: Mailbox): void {
    this.#used = {};
    this.#dayEndsAtMs = 0;
    this.mailbox = mailbox;
    this.drive = new Drive();
    this.sheets = new Sheets();
    this.calendar = new Calendar();
  }
}
