/** Whether one message fits a query. Gmail asks each message, and shows its conversation. */
import { isSystem, type Message } from "../conversation.ts";
import { mailWords } from "../mail.ts";
import { dateBound, relativeBound } from "./dates.ts";
import type { Query } from "./parse.ts";
import { containsPhrase, wordsOf } from "./words.ts";

export interface MatchContext {
  nowMs: number;
  /** The account's own address, which `me` stands for. */
  address: string;
}

const EVERYWHERE = new Set(["anywhere", "trash", "spam"]);

/** Spam and trash are left out unless the query names them. */
export function wantsEverywhere(query: Query): boolean {
  switch (query.kind) {
    case "term":
      return (query.operator === "in" || query.operator === "label") &&
        EVERYWHERE.has(query.value.toLowerCase());
    case "not":
      return wantsEverywhere(query.of);
    default:
      return query.of.some(wantsEverywhere);
  }
}

export function matches(query: Query, message: Message, context: MatchContext): boolean {
  switch (query.kind) {
    case "all":
      return query.of.every((part) => matches(part, message, context));
    case "any":
      return query.of.some((part) => matches(part, message, context));
    case "not":
      return !matches(query.of, message, context);
    case "term":
      return query.operator === null
        ? matchesText(query.value, message)
        : TERMS[query.operator](query.value, message, context);
  }
}

function matchesText(value: string, message: Message): boolean {
  const phrase = wordsOf(value);
  // A term without a letter or digit, such as a lone dash, asks for nothing.
  return phrase.length === 0 ||
    mailWords(message.mail).all.some((words) => containsPhrase(words, phrase));
}

type Term = (value: string, message: Message, context: MatchContext) => boolean;

function person(field: "from" | "to" | "cc" | "bcc"): Term {
  return (value, message, context) => {
    const name = value.toLowerCase() === "me" ? context.address : value;
    return containsPhrase(mailWords(message.mail)[field], wordsOf(name));
  };
}

const received = (message: Message) => message.mail.receivedAtMs;

/** Gmail writes labels in queries with dashes for blanks and slashes. */
const labelKey = (label: string) => label.toLowerCase().replace(/[\s/&()]+/g, "-");

function inPlace(value: string, { labels }: Message): boolean {
  const name = labelKey(value);
  switch (name) {
    case "anywhere":
      return true;
    case "read":
      return !labels.has("UNREAD");
    case "drafts":
      return labels.has("DRAFT");
    case "archive":
      return !["INBOX", "SENT", "DRAFT", "TRASH", "SPAM"].some((label) => labels.has(label));
    default:
      return [...labels].some((label) => labelKey(label) === name);
  }
}

function sizeOf(value: string): number {
  const [, digits, unit] = /^(\d+)([km]?)b?$/i.exec(value) ?? [];
  if (!digits) return NaN;
  return Number(digits) * { "": 1, k: 1024, m: 1024 * 1024 }[unit.toLowerCase() as "" | "k" | "m"];
}

const attached = (message: Message) => message.mail.attachments.filter((file) => !file.inline);

function has(value: string, message: Message): boolean {
  const users = [...message.labels].some((label) => !isSystem(label));
  switch (value.toLowerCase()) {
    case "attachment":
      return attached(message).length > 0;
    case "userlabels":
      return users;
    case "nouserlabels":
      return !users;
    default:
      return false;
  }
}

const TERMS: Record<string, Term> = {
  from: person("from"),
  to: person("to"),
  deliveredto: person("to"),
  cc: person("cc"),
  bcc: person("bcc"),
  subject: (value, message) => containsPhrase(mailWords(message.mail).subject, wordsOf(value)),
  filename: (value, message) =>
    mailWords(message.mail).filename.some((name) => containsPhrase(name, wordsOf(value))),
  has,
  label: inPlace,
  in: inPlace,
  is: inPlace,
  after: (value, message) => received(message) >= dateBound(value),
  newer: (value, message) => received(message) >= dateBound(value),
  before: (value, message) => received(message) < dateBound(value),
  older: (value, message) => received(message) < dateBound(value),
  newer_than: (value, message, { nowMs }) => received(message) >= relativeBound(value, nowMs),
  older_than: (value, message, { nowMs }) => received(message) < relativeBound(value, nowMs),
  larger: (value, message) => message.mail.sizeBytes > sizeOf(value),
  size: (value, message) => message.mail.sizeBytes > sizeOf(value),
  smaller: (value, message) => message.mail.sizeBytes < sizeOf(value),
  rfc822msgid: (value, message) =>
    message.mail.messageId?.replace(/[<>]/g, "") === value.replace(/[<>]/g, ""),
};
