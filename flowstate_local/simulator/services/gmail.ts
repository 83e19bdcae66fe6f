/** GmailApp, as far as Code.gs needs it, over the owner's sample mailbox. */
import { lastDate, type Message, type Thread } from "../conversation.ts";
import type { Attachment } from "../mail.ts";
import type { Mailbox } from "../mailbox.ts";
import { Exception, type Run } from "../run.ts";
import { Blob } from "./utilities.ts";

const MAX_RECIPIENTS = 50;
const MAX_BODY_BYTES = 200 * 1024;
const MAX_THREADS_PER_CALL = 100;
const ADDRESS = /^[^\s@<>,]+@[^\s@<>,]+\.[^\s@<>,]+$/;

interface MailOptions {
  cc?: string;
  bcc?: string;
  htmlBody?: string;
  replyTo?: string;
}

/** One call that reads or writes mail: what the daily quota counts. */
function call(run: Run, costMs: number): Mailbox {
  run.use("gmail", costMs);
  run.charge("gmail");
  return run.owner.mailbox;
}

class GmailAttachment extends Blob {
  constructor(attachment: Attachment) {
    super(attachment.bytes, attachment.mimeType, attachment.name);
  }
}

class GmailMessage {
  constructor(readonly run: Run, readonly message: Message) {}

  getFrom(): string {
    return this.message.mail.from;
  }

  getAttachments(options: { includeInlineImages?: boolean } = {}): GmailAttachment[] {
    call(this.run, 60);
    return this.message.mail.attachments
      .filter((attachment) => !attachment.inline || options.includeInlineImages !== false)
      .map((attachment) => new GmailAttachment(attachment));
  }
}

class GmailLabel {
  constructor(readonly run: Run, readonly name: string) {}

  getName(): string {
    return this.name;
  }

  addToThreads(threads: GmailThread[]): GmailLabel {
    return this.#set(threads, true);
  }

  removeFromThreads(threads: GmailThread[]): GmailLabel {
    return this.#set(threads, false);
  }

  #set(threads: GmailThread[], present: boolean): GmailLabel {
    const mailbox = callForThreads(this.run, threads);
    for (const { thread } of threads) {
      if (mailbox.setLabel(thread, this.name, present)) {
        this.run.effect("gmail.label", [thread.id, this.name, present]);
      }
    }
    return this;
  }
}

class GmailThread {
  constructor(readonly run: Run, readonly thread: Thread) {}

  getId(): string {
    return this.thread.id;
  }

  getFirstMessageSubject(): string {
    return this.thread.messages[0].mail.subject;
  }

  getLastMessageDate(): Date {
    return new Date(lastDate(this.thread));
  }

  getMessageCount(): number {
    return this.thread.messages.length;
  }

  isUnread(): boolean {
    return this.thread.messages.some(({ labels }) => labels.has("UNREAD"));
  }

  getLabels(): GmailLabel[] {
    return call(this.run, 30).labelsOf(this.thread)
      .map((name) => new GmailLabel(this.run, name));
  }

  getMessages(): GmailMessage[] {
    call(this.run, 60);
    return this.thread.messages.map((message) => new GmailMessage(this.run, message));
  }
}

function callForThreads(run: Run, threads: GmailThread[]): Mailbox {
  if (threads.length > MAX_THREADS_PER_CALL) {
    throw new Exception("This operation can only be applied to at most 100 threads.");
  }
  return call(run, 120);
}

class GmailDraft {
  constructor(readonly id: string) {}

  getId(): string {
    return this.id;
  }
}

export class GmailApp {
  constructor(readonly run: Run) {}

  search(query: string, start = 0, max = 500): GmailThread[] {
    if (max > 500) throw new Exception("Argument too large: max");
    return call(this.run, 200).search(query, start, max, this.run.scriptNowMs)
      .map((thread) => new GmailThread(this.run, thread));
  }

  getMessagesForThreads(threads: GmailThread[]): GmailMessage[][] {
    call(this.run, 150);
    return threads.map(({ thread }) =>
      thread.messages.map((message) => new GmailMessage(this.run, message))
    );
  }

  getThreadById(id: string): GmailThread | null {
    const thread = call(this.run, 60).threads.get(id);
    return thread ? new GmailThread(this.run, thread) : null;
  }

  getUserLabelByName(name: string): GmailLabel | null {
    return call(this.run, 40).userLabels.has(name) ? new GmailLabel(this.run, name) : null;
  }

  createLabel(name: string): GmailLabel {
    call(this.run, 80).userLabels.add(name);
    return new GmailLabel(this.run, name);
  }

  moveThreadsToArchive(threads: GmailThread[]): GmailApp {
    const mailbox = callForThreads(this.run, threads);
    for (const { thread } of threads) {
      if (mailbox.setLabel(thread, "INBOX", false)) this.run.effect("gmail.archive", [thread.id]);
    }
    return this;
  }

  createDraft(to: string, subject: string, body: string, options: MailOptions = {}): GmailDraft {
    const mailbox = call(this.run, 200);
    this.#recipients(to, options);
    const message = mailbox.write(this.#writing(to, subject, body, options), "DRAFT");
    this.run.effect("gmail.draft", [to, subject, body, { ...options }]);
    return new GmailDraft("r" + message.mail.id);
  }

  sendEmail(to: string, subject: string, body: string, options: MailOptions = {}): GmailApp {
    this.run.use("email", 300);
    const recipients = this.#recipients(to, options);
    if (body.length + (options.htmlBody?.length ?? 0) > MAX_BODY_BYTES) {
      throw new Exception("Limit exceeded: Email Body Size.");
    }
    this.run.charge("mail", recipients);
    this.run.owner.mailbox.write(this.#writing(to, subject, body, options), "SENT");
    this.run.effect("gmail.send", [to, subject, body, { ...options }]);
    return this;
  }

  #recipients(to: string, { cc, bcc }: MailOptions): number {
    const all = [to, cc, bcc].filter(Boolean).join(",").split(",").map((one) => one.trim());
    for (const one of all) {
      const address = /<([^<>]*)>$/.exec(one)?.[1] ?? one;
      if (address === "") throw new Exception("Failed to send email: no recipient");
      if (!ADDRESS.test(address)) throw new Exception(`Invalid email: ${address}`);
    }
    if (all.length > MAX_RECIPIENTS) {
      throw new Exception("Limit exceeded: Email Recipients Per Message.");
    }
    return all.length;
  }

  #writing(to: string, subject: string, body: string, options: MailOptions) {
    return {
      from: this.run.owner.mailbox.address,
      to,
      cc: options.cc ?? "",
      bcc: options.bcc ?? "",
      replyTo: options.replyTo ?? "",
      subject,
      text: body,
      html: options.htmlBody ?? "",
      atMs: this.run.scriptNowMs,
    };
  }
}
