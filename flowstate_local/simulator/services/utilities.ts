/** Utilities, as far as Code.gs needs it. Bytes are signed on Google: -128 to 127. */
import { createHmac } from "node:crypto";
import { Buffer } from "node:buffer";
import { Exception, type Run } from "../run.ts";

export class Blob {
  constructor(
    readonly bytes: Uint8Array,
    readonly contentType: string | null,
    readonly name: string | null,
  ) {}

  getDataAsString(charset = "UTF-8"): string {
    return new TextDecoder(charset).decode(this.bytes);
  }

  getName(): string | null {
    return this.name;
  }

  getContentType(): string | null {
    return this.contentType;
  }

  copyBlob(): Blob {
    return new Blob(this.bytes, this.contentType, this.name);
  }
}

export class Utilities {
  readonly Charset = { UTF_8: "UTF-8", US_ASCII: "US-ASCII" };

  constructor(readonly run: Run) {}

  computeHmacSha256Signature(value: string, key: string, charset = "US-ASCII"): number[] {
    this.run.enter(1);
    const encoding = charset === "UTF-8" ? "utf8" : "latin1";
    const mac = createHmac("sha256", Buffer.from(key, encoding)).update(value, encoding).digest();
    return Array.from(new Int8Array(mac));
  }

  base64DecodeWebSafe(encoded: string): number[] {
    this.run.enter(1);
    if (!/^[A-Za-z0-9_-]*={0,2}$/.test(encoded) || encoded.length % 4 !== 0) {
      throw new Exception("Could not decode string.");
    }
    return Array.from(new Int8Array(Buffer.from(encoded, "base64url")));
  }

  newBlob(data: number[] | string, contentType?: string, name?: string): Blob {
    const bytes = typeof data === "string" ? Buffer.from(data, "utf8") : Uint8Array.from(data);
    return new Blob(bytes, contentType ?? null, name ?? null);
  }
}
