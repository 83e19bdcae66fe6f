/** Everything there is: accounts, projects, ledgers, faults. One per process. */
import { generateMailbox } from "../mailboxes/generate.ts";
import { ME } from "../mailboxes/corpus.ts";
import { Clock, Latency, Random } from "./clock.ts";
import type { Config, InstanceConfig, OwnerConfig } from "./config.ts";
import { EchoStore } from "./echo_store.ts";
import { EffectsLedger } from "./effects.ts";
import { GoogleOAuth } from "./google_oauth.ts";
import { Injections } from "./injections.ts";
import { parseMail } from "./mail.ts";
import { Mailbox, type SeededMail } from "./mailbox.ts";
import { Owner } from "./owner.ts";
import { Project } from "./project.ts";
import { Stats } from "./stats.ts";

export class World {
  readonly clock = new Clock();
  readonly latency: Latency;
  readonly injections: Injections;
  readonly echo = new EchoStore();
  readonly oauth = new GoogleOAuth(this.clock);
  readonly settings = { quotas: true };
  readonly owners = new Map<string, Owner>();
  readonly projects = new Map<string, Project>();
  effects = new EffectsLedger();
  stats = new Stats();
  #lastRunId = 0;

  private constructor(readonly config: Config, readonly sampleMail: SeededMail[]) {
    this.latency = new Latency(config.seed, config.time_scale);
    this.injections = new Injections(new Random(config.seed));
    for (const owner of config.owners) this.addOwner(owner);
    for (const instance of config.instances) this.addInstance(instance);
  }

  /** Reads the sample mail once; all accounts share it, each with its own labels and flags. */
  static async create(config: Config, nowMs = Date.now()): Promise<World> {
    const mails = await Promise.all(
      generateMailbox(config.seed, nowMs).map(async ({ eml, receivedAtMs, labels }, i) => ({
        mail: await parseMail(eml, "18" + i.toString(16).padStart(14, "0"), receivedAtMs),
        labels,
      })),
    );
    return new World(config, mails);
  }

  addOwner(config: OwnerConfig): Owner {
    const owner = new Owner(config, this.clock, this.#mailbox(), this.settings);
    this.owners.set(config.owner, owner);
    return owner;
  }

  /** A deployment of an account; an account not named before is a consumer's. */
  addInstance(config: InstanceConfig): Project {
    if (!this.owners.has(config.owner)) {
      this.addOwner({ owner: config.owner, account_type: "consumer", locale: "en" });
    }
    const project = new Project(config);
    this.projects.set(config.deployment_id, project);
    return project;
  }

  ownerOf(project: Project): Owner {
    return this.owners.get(project.owner)!;
  }

  nextRunId(): number {
    return ++this.#lastRunId;
  }

  /** Forgets all that happened; accounts and deployments stay, as on their first day. */
  reset(): void {
    this.effects = new EffectsLedger();
    this.stats = new Stats();
    this.injections.clear();
    this.echo.clear();
    this.oauth.reset();
    this.clock.ledgerAheadSeconds = 0;
    this.clock.scriptAheadSeconds = 0;
    for (const owner of this.owners.values()) owner.reset(this.#mailbox());
    for (const project of this.projects.values()) project.reset();
  }

  #mailbox(): Mailbox {
    return new Mailbox(ME.address, this.sampleMail);
  }
}
