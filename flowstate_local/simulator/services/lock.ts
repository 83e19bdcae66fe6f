/** LockService: one lock for each script project. */
import type { Run } from "../run.ts";

class Lock {
  constructor(readonly run: Run) {}

  tryLock(timeoutInMillis: number): boolean {
    this.run.enter(20);
    return this.run.project.lock.acquire(this.run, timeoutInMillis);
  }

  waitLock(timeoutInMillis: number): void {
    this.run.beforeClaim();
    if (!this.tryLock(timeoutInMillis)) throw this.run.exception("lock", "lock");
  }

  releaseLock(): void {
    this.run.enter(5);
    this.run.project.lock.release(this.run);
    this.run.lockReleased();
  }
}

export class LockService {
  constructor(readonly run: Run) {}

  getScriptLock(): Lock {
    return new Lock(this.run);
  }
}
