/** DriveApp, as far as Code.gs needs it: folders by name, and files put into them. */
import { keepNewest, type StoredFile } from "../account_data.ts";
import { digest } from "../columns.ts";
import type { Run } from "../run.ts";
import { Blob } from "./utilities.ts";

const utf8 = new TextEncoder();

class File {
  constructor(readonly stored: StoredFile) {}

  getId(): string {
    return this.stored.id;
  }

  getName(): string {
    return this.stored.name;
  }

  getSize(): number {
    return this.stored.bytes;
  }
}

function createFile(run: Run, folder: string | null, content: unknown[]): File {
  run.use("drive", 300);
  const [first, text, mimeType] = content;
  const blob = first instanceof Blob
    ? first
    : new Blob(utf8.encode(String(text)), String(mimeType ?? "text/plain"), String(first));
  const { drive } = run.owner;
  const stored: StoredFile = {
    id: drive.ids.next(),
    name: blob.name ?? "Untitled",
    mimeType: blob.contentType ?? "application/octet-stream",
    bytes: blob.bytes.length,
    folder,
  };
  keepNewest(drive.files, stored);
  const content53 = digest(new TextDecoder("latin1").decode(blob.bytes));
  run.effect("drive.file", [folder, stored.name, stored.bytes, content53], true);
  return new File(stored);
}

class Folder {
  constructor(readonly run: Run, readonly name: string) {}

  createFile(...content: unknown[]): File {
    return createFile(this.run, this.name, content);
  }
}

class FolderIterator {
  #at = 0;

  constructor(readonly folders: Folder[]) {}

  hasNext(): boolean {
    return this.#at < this.folders.length;
  }

  next(): Folder {
    return this.folders[this.#at++];
  }
}

export class DriveApp {
  constructor(readonly run: Run) {}

  getFoldersByName(name: string): FolderIterator {
    this.run.use("drive", 100);
    const known = this.run.owner.drive.folders.has(name);
    return new FolderIterator(known ? [new Folder(this.run, name)] : []);
  }

  createFolder(name: string): Folder {
    this.run.use("drive", 200);
    this.run.owner.drive.folders.set(name, this.run.owner.drive.ids.next());
    return new Folder(this.run, name);
  }

  createFile(...content: unknown[]): File {
    return createFile(this.run, null, content);
  }
}
