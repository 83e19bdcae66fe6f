/** What the sample mail is about: people, subjects, texts and files. All of it is invented. */

export const ME = { name: "Robin Example", address: "robin@example.com" };

export interface Person {
  name: string;
  address: string;
}

export const PEOPLE: readonly Person[] = [
  { name: "Amy Carter", address: "amy.carter@example.org" },
  { name: "Acme Billing", address: "billing@acme.example" },
  { name: "Jörg Müller", address: "joerg.mueller@example.net" },
  { name: "Zoë Lefèvre", address: "zoe@bistro.example" },
  { name: "佐藤 花子", address: "hanako@example.jp" },
  { name: "Олег Иванов", address: "oleg@example.ru" },
  { name: "Build Service", address: "noreply@ci.example" },
  { name: "Travel Desk", address: "desk@travel.example" },
  { name: "O'Neil, Pat (Sales)", address: "pat.oneil@sales.example" },
  { name: "", address: "alerts@monitor.example" },
];

export interface Topic {
  subject: string;
  body: string;
  label: string | null;
  files: readonly ("pdf" | "csv" | "png")[];
  /** Names the files carry, without their ending. */
  fileName: string;
}

export const TOPICS: readonly Topic[] = [
  {
    subject: "Invoice 2024-017 for March",
    body: "Please find attached our invoice. The amount is due within 30 days.",
    label: "Finance/Invoices",
    files: ["pdf"],
    fileName: "invoice-2024-017",
  },
  {
    subject: "Rechnung für Büromöbel – Fälligkeit",
    body: "Anbei die Rechnung über 1.250,00 €. Mit freundlichen Grüßen",
    label: "Finance/Invoices",
    files: ["pdf"],
    fileName: "Rechnung für Büromöbel",
  },
  {
    subject: "Lunch on Thursday?",
    body: "Shall we meet for lunch at the bistro? The quarterly report can wait.",
    label: null,
    files: [],
    fileName: "",
  },
  {
    subject: "Quarterly report and figures",
    body: "Here are the figures for the quarterly report. Numbers are in the sheet.",
    label: "Reports",
    files: ["csv"],
    fileName: "figures-q3",
  },
  {
    subject: "Réservation confirmée à la Brasserie «Été»",
    body: "Votre réservation est confirmée pour quatre personnes. À bientôt !",
    label: "Travel",
    files: [],
    fileName: "",
  },
  {
    subject: "会議の議事録を送ります",
    body: "お世話になっております。議事録を添付いたします。",
    label: null,
    files: ["pdf"],
    fileName: "議事録2024年度第三四半期",
  },
  {
    subject: "Build failed: main at step deploy",
    body: "The pipeline failed. See the log for details: https://ci.example/runs/4711",
    label: "Notifications",
    files: [],
    fileName: "",
  },
  {
    subject: "Отчёт за квартал готов",
    body: "Добрый день! Отчёт готов, таблица во вложении.",
    label: "Reports",
    files: ["csv", "pdf"],
    fileName: "отчёт",
  },
  {
    subject: "Photos from the offsite",
    body: "What a view! More photos to come.",
    label: null,
    files: ["png", "png"],
    fileName: "photo",
  },
  {
    subject: "Your trip to Lisbon: itinerary and tickets",
    body: "Your itinerary is confirmed. Flight TP533 departs at 09:40.",
    label: "Travel",
    files: ["pdf", "csv"],
    fileName: "itinerary",
  },
  {
    subject: "Weekly digest “Automation & you”",
    body: "This week’s topics: quotas, labels — and how to archive “everything”.",
    label: "Notifications",
    files: [],
    fileName: "",
  },
];

const text = new TextEncoder();

/** Small files of the kinds that mail carries; each ends in its number, so that no two are equal. */
export function fileBytes(kind: "pdf" | "csv" | "png", number: number): Uint8Array {
  switch (kind) {
    case "pdf":
      return text.encode(
        `%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n` +
          `2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n% ${number}\n%%EOF\n`,
      );
    case "csv":
      return text.encode(`month;amount\n2024-01;${number}\n2024-02;${number * 2}\nMärz;1,5\n`);
    case "png":
      return Uint8Array.from([
        ...[0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a],
        ...Array.from({ length: 64 }, (_, i) => (i * 37 + number) & 0xff),
      ]);
  }
}

export const MIME_TYPES = { pdf: "application/pdf", csv: "text/csv", png: "image/png" } as const;
