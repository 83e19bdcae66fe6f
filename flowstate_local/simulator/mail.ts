/**
 * One mail as the mailbox keeps it: read once from RFC 5322 text, then never changed.
 *
 * Parsed by postal-mime: well kept, without dependencies, made for runtimes other than Node, and it
 * reads all that real mail does (RFC 2047 and 2231, charsets, nested parts). mailparser does as
 * much on Node's streams, with a dozen packages under it.
 */
import PostalMime, { type Address, type Email } from "postal-mime";
import { textOfHtml, wordsOf } from "./search/words.ts";

export interface Attachment {
  name: string;
  mimeType: string;
  bytes: Uint8Array;
  inline: boolean;
}

export interface Mail {
  id: string;
  messageId: string | null;
  /** Message-IDs of the conversation so far, from References and In-Reply-To. */
  ancestors: string[];
  from: string;
  to: string;
  cc: string;
  bcc: string;
  replyTo: string;
  subject: string;
  text: string;
  html: string;
  /** The Date header, or the time of arrival where it is missing. */
  dateMs: number;
  receivedAtMs: number;
  sizeBytes: number;
  attachments: Attachment[];
}

/** The words of each field, as search compares them. */
export interface MailWords {
  from: string[];
  to: string[];
  cc: string[];
  bcc: string[];
  subject: string[];
  filename: string[][];
  all: string[][];
}

const wordsByMail = new WeakMap<Mail, MailWords>();

export function mailWords(mail: Mail): MailWords {
  let words = wordsByMail.get(mail);
  if (!words) {
    const filename = mail.attachments.map((attachment) => wordsOf(attachment.name));
    const [from, to, cc, bcc] = [mail.from, mail.to, mail.cc, mail.bcc].map(wordsOf);
    const subject = wordsOf(mail.subject);
    const body = wordsOf(mail.text || textOfHtml(mail.html));
    words = {
      from,
      to,
      cc,
      bcc,
      subject,
      filename,
      all: [subject, body, from, to, cc, ...filename],
    };
    wordsByMail.set(mail, words);
  }
  return words;
}

function addressText(address: Address): string {
  if (address.group) return address.group.map(addressText).join(", ");
  return address.name ? `${address.name} <${address.address}>` : address.address ?? "";
}

function addressList(addresses: Address[] | undefined): string {
  return (addresses ?? []).map(addressText).join(", ");
}

function ancestorsOf(email: Email): string[] {
  const ids = `${email.references ?? ""} ${email.inReplyTo ?? ""}`.match(/<[^<>\s]+>/g);
  return [...new Set(ids ?? [])];
}

/** Reads a message as it came over the wire. `id` is the mailbox's own name for it. */
export async function parseMail(
  raw: Uint8Array,
  id: string,
  receivedAtMs: number,
): Promise<Mail> {
  const email = await PostalMime.parse(raw, { attachmentEncoding: "arraybuffer" });
  const dateMs = email.date ? Date.parse(email.date) : NaN;
  return {
    id,
    messageId: email.messageId ?? null,
    ancestors: ancestorsOf(email),
    from: email.from ? addressText(email.from) : "",
    to: addressList(email.to),
    cc: addressList(email.cc),
    bcc: addressList(email.bcc),
    replyTo: addressList(email.replyTo),
    subject: email.subject ?? "",
    text: email.text ?? "",
    html: email.html ?? "",
    dateMs: Number.isNaN(dateMs) ? receivedAtMs : dateMs,
    receivedAtMs,
    sizeBytes: raw.length,
    attachments: email.attachments.map((attachment) => ({
      name: attachment.filename ?? "",
      mimeType: attachment.mimeType,
      bytes: new Uint8Array(attachment.content as ArrayBuffer),
      inline: attachment.disposition === "inline" || attachment.related === true,
    })),
  };
}
