/** PropertiesService: strings, 9 KB a value, 500 KB a store, each read and write counted. */
import { Exception, type Run } from "../run.ts";

const MAX_VALUE_BYTES = 9 * 1024;
const MAX_STORE_BYTES = 500 * 1024;

const utf8 = new TextEncoder();
const bytesOf = (text: string) =>
  text.length * 3 <= MAX_VALUE_BYTES ? text.length : utf8.encode(text).length;

class Properties {
  constructor(readonly run: Run) {}

  getProperty(key: string): string | null {
    this.#use();
    return this.run.project.properties.get(key, this.run.nowMs) ?? null;
  }

  getProperties(): Record<string, string> {
    this.#use();
    return Object.fromEntries(this.run.project.properties.entries(this.run.nowMs));
  }

  setProperty(key: string, value: string): Properties {
    this.#use();
    this.run.beforeWrite();
    this.#put(key, String(value));
    return this;
  }

  setProperties(values: Record<string, string>): Properties {
    this.run.beforeWrite();
    for (const [key, value] of Object.entries(values)) {
      this.#use();
      this.#put(key, String(value));
    }
    return this;
  }

  deleteProperty(key: string): Properties {
    this.#use();
    this.run.beforeWrite();
    this.#put(key, undefined);
    return this;
  }

  #use(): void {
    this.run.enter(20);
    this.run.charge("properties");
  }

  #put(key: string, value: string | undefined): void {
    const { project, nowMs } = this.run;
    const size = (text: string | undefined) => text === undefined ? 0 : key.length + bytesOf(text);
    if (value !== undefined && bytesOf(value) > MAX_VALUE_BYTES) {
      throw new Exception("Argument too large: value");
    }
    const growth = size(value) - size(project.properties.get(key, nowMs));
    if (growth > 0 && project.propertyBytes + growth > MAX_STORE_BYTES) {
      throw new Exception(
        "You have exceeded the property storage quota. Please remove some properties and try again.",
      );
    }
    project.propertyBytes += growth;
    project.properties.set(key, value, nowMs);
  }
}

export class PropertiesService {
  constructor(readonly run: Run) {}

  getScriptProperties(): Properties {
    return new Properties(this.run);
  }
}
