/** A conversation of a mailbox: its messages, and the labels which they carry. */
import type { Mail } from "./mail.ts";

export interface Message {
  mail: Mail;
  threadId: string;
  labels: Set<string>;
}

export interface Thread {
  id: string;
  messages: Message[];
}

export function lastDate(thread: Thread): number {
  return Math.max(...thread.messages.map((message) => message.mail.receivedAtMs));
}

/** System labels are in capitals, as in Gmail's own interface; all others are the user's. */
const SYSTEM_LABELS = [
  "INBOX",
  "SENT",
  "DRAFT",
  "UNREAD",
  "STARRED",
  "IMPORTANT",
  "TRASH",
  "SPAM",
] as const;

export const isSystem = (label: string) => (SYSTEM_LABELS as readonly string[]).includes(label);
