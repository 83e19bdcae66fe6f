/** What is counted of the calls: how many, how many at once, and the newest ones in full. */

import { digest, NumberSet } from "./columns.ts";

const RECENT = 1000;

export class Gauge {
  now = 0;
  max = 0;

  enter(): void {
    if (++this.now > this.max) this.max = this.now;
  }

  leave(): void {
    this.now--;
  }
}

export interface RecentCall {
  at: string;
  instance: string;
  op: string;
  executionId: string | null;
  fault: string | null;
  answer: string;
}

export class Stats {
  calls = 0;
  runs = 0;
  #executions = new NumberSet();
  #global = new Gauge();
  #owners = new Map<string, Gauge>();
  #instances = new Map<string, Gauge>();
  #callsByInstance = new Map<string, number>();
  #recent: RecentCall[] = [];

  enter(instance: string, owner: string): void {
    this.calls++;
    this.#callsByInstance.set(instance, (this.#callsByInstance.get(instance) ?? 0) + 1);
    for (const gauge of this.#gauges(instance, owner)) gauge.enter();
  }

  leave(instance: string, owner: string): void {
    for (const gauge of this.#gauges(instance, owner)) gauge.leave();
  }

  /** A script was started for an execution. */
  ran(executionId: string): void {
    this.runs++;
    this.#executions.add(digest(executionId));
  }

  note(call: RecentCall): void {
    this.#recent.push(call);
    if (this.#recent.length > 2 * RECENT) this.#recent.splice(0, RECENT);
  }

  recent(): RecentCall[] {
    return this.#recent.slice(-RECENT);
  }

  summary(): Record<string, unknown> {
    const maxima = (gauges: Map<string, Gauge>) =>
      Object.fromEntries([...gauges].map(([name, gauge]) => [name, gauge.max]));
    return {
      executions: this.#executions.size,
      runs: this.runs,
      calls: this.calls,
      in_flight: this.#global.now,
      in_flight_max: {
        global: this.#global.max,
        owner: maxima(this.#owners),
        instance: maxima(this.#instances),
      },
      calls_by_instance: Object.fromEntries(this.#callsByInstance),
    };
  }

  #gauges(instance: string, owner: string): Gauge[] {
    return [this.#global, named(this.#owners, owner), named(this.#instances, instance)];
  }
}

function named(gauges: Map<string, Gauge>, name: string): Gauge {
  let gauge = gauges.get(name);
  if (!gauge) gauges.set(name, gauge = new Gauge());
  return gauge;
}
