/**
 * A mailbox: conversations, labels, read and unread. Mails themselves are shared between owners
 * and never change; what an account does to them is kept here.
 */
import { isSystem, lastDate, type Message, type Thread } from "./conversation.ts";
import type { Mail } from "./mail.ts";
import { parseQuery } from "./search/parse.ts";
import { type MatchContext, matches, wantsEverywhere } from "./search/match.ts";

/** Sent mails and drafts are kept up to this many; a benchmark sends a million. */
const KEEP_WRITTEN = 500;

export interface SeededMail {
  mail: Mail;
  labels: string[];
}

export interface Writing {
  from: string;
  to: string;
  cc: string;
  bcc: string;
  replyTo: string;
  subject: string;
  text: string;
  html: string;
  atMs: number;
}

export class Mailbox {
  readonly threads = new Map<string, Thread>();
  readonly userLabels = new Set<string>();
  #writtenCount = 0;
  #written: string[] = [];
  #threadOfMessageId = new Map<string, string>();

  constructor(readonly address: string, seed: SeededMail[]) {
    const byAge = [...seed].sort((a, b) => a.mail.receivedAtMs - b.mail.receivedAtMs);
    for (const { mail, labels } of byAge) this.add(mail, labels);
  }

  /** Files a mail under the conversation that it answers, or under a new one. */
  add(mail: Mail, labels: string[]): Message {
    const known = mail.ancestors.map((id) => this.#threadOfMessageId.get(id)).find(Boolean);
    const thread = this.threads.get(known ?? "") ?? { id: mail.id, messages: [] };
    this.threads.set(thread.id, thread);
    if (mail.messageId) this.#threadOfMessageId.set(mail.messageId, thread.id);
    const message = { mail, threadId: thread.id, labels: new Set(labels) };
    thread.messages.push(message);
    for (const label of labels) if (!isSystem(label)) this.userLabels.add(label);
    return message;
  }

  /** Puts what the account wrote into Sent or Drafts. */
  write(writing: Writing, label: "SENT" | "DRAFT"): Message {
    const mail: Mail = {
      ...writing,
      id: "19" + (++this.#writtenCount).toString(16).padStart(14, "0"),
      messageId: null,
      ancestors: [],
      dateMs: writing.atMs,
      receivedAtMs: writing.atMs,
      sizeBytes: writing.text.length + writing.html.length,
      attachments: [],
    };
    const message = this.add(mail, [label]);
    this.#written.push(message.threadId);
    if (this.#written.length > KEEP_WRITTEN) this.threads.delete(this.#written.shift()!);
    return message;
  }

  /** Conversations with a message that fits, newest first. */
  search(query: string, start: number, max: number, nowMs: number): Thread[] {
    const tree = parseQuery(query);
    const context: MatchContext = { nowMs, address: this.address };
    const everywhere = wantsEverywhere(tree);
    const visible = (m: Message) => everywhere || !(m.labels.has("TRASH") || m.labels.has("SPAM"));
    return [...this.threads.values()]
      .filter((thread) => thread.messages.some((m) => visible(m) && matches(tree, m, context)))
      .map((thread) => ({ thread, at: lastDate(thread) }))
      .sort((a, b) => b.at - a.at)
      .slice(start, start + max)
      .map(({ thread }) => thread);
  }

  /** Adds or removes a label on all messages of a conversation. True if that changed anything. */
  setLabel(thread: Thread, label: string, present: boolean): boolean {
    let changed = false;
    for (const { labels } of thread.messages) {
      if (labels.has(label) === present) continue;
      changed = true;
      if (present) labels.add(label);
      else labels.delete(label);
    }
    return changed;
  }

  labelsOf(thread: Thread): string[] {
    const all = new Set(thread.messages.flatMap(({ labels }) => [...labels]));
    return [...all].filter((label) => !isSystem(label)).sort();
  }
}
