/** Gmail's query language, as a table over ten conversations that are known by heart. */
import assert from "node:assert/strict";
import { parseMail } from "../../../flowstate_local/simulator/mail.ts";
import { Mailbox } from "../../../flowstate_local/simulator/mailbox.ts";

const NOW = Date.parse("2025-03-15T12:00:00Z");
const ME = "robin@example.com";

interface Sample {
  id: string;
  at: string;
  labels: string[];
  headers: string[];
  body: string;
  files?: string[];
}

const SAMPLES: Sample[] = [
  {
    id: "lunch",
    at: "2025-03-15T08:00:00Z",
    labels: ["INBOX", "UNREAD"],
    headers: [
      "From: Amy Carter <amy.carter@example.org>",
      `To: ${ME}`,
      "Subject: Lunch, Thursday?",
    ],
    body: "At the bistro. Bring the quarterly report!",
  },
  {
    id: "invoice",
    at: "2025-03-14T23:30:00Z",
    labels: ["INBOX", "Finance/Open invoices"],
    headers: [
      "Message-ID: <1@acme.example>",
      "From: Acme Billing <billing@acme.example>",
      `To: Robin <${ME}>, other@example.com`,
      "Cc: Pat O'Neil <pat@sales.example>",
      "Subject: Invoice 2024-017",
    ],
    body: "Due in 30 days.",
    files: ["invoice-017.pdf"],
  },
  {
    id: "answer",
    at: "2025-03-15T09:00:00Z",
    labels: ["SENT"],
    headers: [
      "In-Reply-To: <1@acme.example>",
      `From: Robin <${ME}>`,
      "To: billing@acme.example",
      "Subject: Re: Invoice 2024-017",
    ],
    body: "Paid, thank you.",
  },
  {
    id: "table",
    at: "2025-03-10T00:00:00Z",
    labels: ["STARRED", "Travel"],
    headers: [
      "From: =?UTF-8?Q?Zo=C3=AB_Lef=C3=A8vre?= <zoe@bistro.example>",
      `To: ${ME}`,
      "Subject: =?UTF-8?B?UsOpc2VydmF0aW9uIGNvbmZpcm3DqWU=?=",
    ],
    body: "Table pour quatre personnes.",
  },
  {
    id: "build",
    at: "2025-02-15T11:59:00Z",
    labels: ["INBOX", "Notifications"],
    headers: ["From: alerts@monitor.example", `To: ${ME}`, "Subject: Build failed: main"],
    body: "See https://ci.example/runs/4711 for the report of failures.",
  },
  {
    id: "spam",
    at: "2025-03-12T10:00:00Z",
    labels: ["SPAM", "UNREAD"],
    headers: ["From: win@lottery.example", `To: ${ME}`, "Subject: You won lunch"],
    body: "Claim now",
  },
  {
    id: "trash",
    at: "2025-01-01T00:00:00Z",
    labels: ["TRASH"],
    headers: ["From: amy.carter@example.org", `To: ${ME}`, "Subject: Old lunch plans"],
    body: "Never mind",
  },
  {
    id: "figures",
    at: "2024-03-15T12:00:01Z",
    labels: ["INBOX", "IMPORTANT"],
    headers: ["From: J=?iso-8859-1?Q?=F6?=rg <joerg@example.net>", `To: ${ME}`, "Subject: Zahlen"],
    body: "Anbei der Bericht.",
    files: ["figures.csv", "Plan 2024.pdf"],
  },
  {
    id: "draft",
    at: "2025-03-01T10:00:00Z",
    labels: ["DRAFT"],
    headers: [`From: ${ME}`, "To: amy.carter@example.org", "Subject: Re: dinner"],
    body: "Dinner instead of lunch?",
  },
  {
    id: "digest",
    at: "2023-09-20T10:00:00Z",
    labels: [],
    headers: ["From: list@news.example", `Bcc: ${ME}`, "Subject: Weekly digest"],
    body: "automation ".repeat(2000),
  },
];

/** Query, and the conversations found, newest first. `invoice` and `answer` are one. */
const TABLE: [string, string][] = [
  // words and phrases
  ["lunch", "lunch draft"],
  ["LUNCH", "lunch draft"],
  ["lun", ""],
  ["quarterly report", "lunch"],
  ["report quarterly", "lunch"],
  ['"quarterly report"', "lunch"],
  ['"report quarterly"', ""],
  ["report", "lunch build"],
  ["reservation", "table"],
  ["confirmée", "table"],
  ["https://ci.example/runs/4711", "build"],
  ["17 -017", ""],
  ["", "invoice lunch table draft build figures digest"],
  // people
  ["from:amy", "lunch"],
  ["from:amy.carter@example.org", "lunch"],
  ["from:example.org", "lunch"],
  ["from:zoe", "table"],
  ['from:"Acme Billing"', "invoice"],
  ["from:me", "invoice draft"],
  ["to:me", "invoice lunch table build figures"],
  ["to:billing", "invoice"],
  ["cc:pat", "invoice"],
  ["cc:amy", ""],
  ["bcc:me", "digest"],
  ["from:jörg", "figures"],
  // subject and groups
  ["subject:lunch", "lunch"],
  ["subject:(lunch thursday)", "lunch"],
  ["subject:(lunch dinner)", ""],
  ["subject:{lunch dinner}", "lunch draft"],
  ['subject:"build failed"', "build"],
  ["subject: lunch", "lunch"],
  // attachments
  ["has:attachment", "invoice figures"],
  ["has:attachment filename:csv", "figures"],
  ["filename:pdf", "invoice figures"],
  ["filename:invoice-017.pdf", "invoice"],
  ['filename:"plan 2024"', "figures"],
  ["from:me has:attachment", ""],
  // places and labels
  ["in:inbox", "invoice lunch build figures"],
  ["in:sent", "invoice"],
  ["in:drafts", "draft"],
  ["in:trash", "trash"],
  ["in:spam", "spam"],
  ["in:anywhere lunch", "lunch spam draft trash"],
  ["label:travel", "table"],
  ["label:finance-open-invoices", "invoice"],
  ['label:"Finance/Open invoices"', "invoice"],
  ["has:userlabels", "invoice table build"],
  ["has:nouserlabels in:inbox", "lunch figures"],
  ["-in:inbox -in:drafts", "invoice table digest"],
  ["in:archive", "table digest"],
  // flags
  ["is:unread", "lunch"],
  ["is:read in:inbox", "invoice build figures"],
  ["is:starred", "table"],
  ["is:important", "figures"],
  ["label:unread", "lunch"],
  // dates: after includes its day, before excludes it
  ["after:2025/03/15", "invoice lunch"],
  ["after:2025/3/10", "invoice lunch table"],
  ["after:2025-03-11", "invoice lunch"],
  ["before:2025/03/10", "draft build figures digest"],
  ["before:2025/03/11 after:2025/03/10", "table"],
  ["after:03/10/2025", "invoice lunch table"],
  ["after:1741996800", "invoice lunch"],
  ["older:2024/01/01", "digest"],
  ["newer:2025/03/15 is:unread", "lunch"],
  ["after:2025/02/30", ""],
  ["newer_than:1d", "invoice lunch"],
  ["newer_than:5h", "invoice lunch"],
  ["newer_than:3h", "invoice"],
  ["newer_than:6d", "invoice lunch table"],
  ["newer_than:1m", "invoice lunch table draft"],
  ["older_than:1m", "build figures digest"],
  ["newer_than:1y", "invoice lunch table draft build figures"],
  ["older_than:1y", "digest"],
  // size and id
  ["larger:10k", "digest"],
  ["smaller:10k in:inbox", "invoice lunch build figures"],
  ["rfc822msgid:<1@acme.example>", "invoice"],
  // joining
  ["from:amy OR from:zoe", "lunch table"],
  ["from:amy | from:zoe", "lunch table"],
  ["{from:amy from:zoe}", "lunch table"],
  ["is:unread from:amy OR from:zoe", "lunch"],
  ["(is:unread from:amy) OR from:zoe", "lunch table"],
  ["report AND from:amy", "lunch"],
  ["lunch -from:amy", "draft"],
  ["-lunch in:inbox", "invoice build figures"],
  ["-(from:amy OR from:zoe) in:inbox", "invoice build figures"],
  ["-{from:amy subject:invoice} in:inbox", "build figures"],
  ["from:(amy OR zoe)", "lunch table"],
  ["-subject:(lunch OR invoice) in:inbox", "build figures"],
  // brackets and quotes left open
  ["(from:amy", "lunch"],
  ["from:amy)", "lunch"],
  ['"quarterly rep', ""],
  ['"quarterly report', "lunch"],
];

function eml({ headers, body, files = [] }: Sample): Uint8Array {
  const parts = files.map((name) =>
    `--x\r\nContent-Type: application/octet-stream\r\n` +
    `Content-Disposition: attachment; filename="${name}"\r\n\r\ndata\r\n`
  );
  const content = files.length
    ? `Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n${body}\r\n${
      parts.join("")
    }--x--`
    : `\r\n${body}`;
  return new TextEncoder().encode(headers.join("\r\n") + "\r\n" + content);
}

async function mailbox(): Promise<Mailbox> {
  const seed = await Promise.all(SAMPLES.map(async (sample) => ({
    mail: await parseMail(eml(sample), sample.id, Date.parse(sample.at)),
    labels: sample.labels,
  })));
  return new Mailbox(ME, seed);
}

const box = await mailbox();

for (const [query, found] of TABLE) {
  Deno.test(`a search for ${query || "nothing"} finds ${found || "nothing"}`, () => {
    assert.equal(box.search(query, 0, 100, NOW).map((thread) => thread.id).join(" "), found);
  });
}

Deno.test("a page of threads begins where it is told", () => {
  const ids = (start: number, max: number) =>
    box.search("in:inbox", start, max, NOW).map((thread) => thread.id).join(" ");
  assert.equal(ids(0, 2), "invoice lunch");
  assert.equal(ids(2, 2), "build figures");
  assert.equal(ids(4, 2), "");
});

Deno.test("a month before the 31st ends with the month", () => {
  const end = Date.parse("2025-03-31T12:00:00Z");
  const ids = box.search("newer_than:1m", 0, 100, end).map((thread) => thread.id);
  assert.deepEqual(ids, ["invoice", "lunch", "table", "draft"]);
});
