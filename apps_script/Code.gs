/**
 * FlowState on Apps Script: one web app which runs the steps of a flow, once.
 *
 * A caller posts a signed envelope to /exec. The script checks the signature, claims the execution
 * id, runs the steps in order and answers with JSON. It cannot see request headers and cannot set
 * a status code, so authentication is inside the body and every outcome is an envelope.
 *
 * Nothing may happen twice. An execution leaves a record in the script properties: what has
 * finished, and which side effect is under way. A run that died is resumed behind its last
 * finished step; a side effect that was begun and never reported is left to a person
 * (NEEDS_REVIEW) and is never repeated by this script.
 *
 * Script properties to set by hand: INSTANCE_NAME, and HMAC_<kid> for one or two key ids.
 *
 * Sections: settings · entry points · envelope · execution record · running · templates ·
 * arguments · steps · errors · small tools.
 */

// ---------------------------------------------------------------------------------- settings

const VERSION = 1;
const BUILD = '1.0.0';

const CLOCK_SKEW_MS = 300 * 1000;
const NONCE_SECONDS = 600;
/**
 * Shorter than the nonces' life on purpose: a full cache (1,000 items) drops first what expires
 * first, and a finished answer has a durable copy in the properties while a nonce has none.
 */
const ANSWER_CACHE_SECONDS = 500;

const MAX_BUDGET_MS = 300 * 1000;
/** A run begins no step after its deadline; this much later it counts as dead. */
const DEAD_AFTER_MS = 30 * 1000;
const CLAIM_WAIT_MS = 10 * 1000;

const MAX_STEPS = 20;
const MAX_RESULT_BYTES = 90 * 1024;

/** A property value may have 9 KB; a store 500 KB. */
const CHUNK_CHARS = 8500;
const INLINE_CHARS = 5000;
const STORE_TARGET_CHARS = 300 * 1024;
const PRUNE_EVERY_SECONDS = 600;
const KEEP_MS = 7 * 24 * 3600 * 1000;
const KEEP_REVIEW_MS = 30 * 24 * 3600 * 1000;

const RECORD = 'run.';
const CHUNK = 'out.';

// ------------------------------------------------------------------------------ entry points

/**
 * Runs, looks up or pings: the only way in that changes anything.
 * @param {{postData: {contents: string}}} e
 */
function doPost(e) {
  const startedAt = Date.now();
  let executionId = null;
  let answer;
  try {
    const body = openEnvelope(parsedOrNull(e && e.postData && e.postData.contents), startedAt);
    executionId = body.executionId || null;
    answer = dispatch(body, startedAt);
  } catch (error) {
    answer = failure(executionId, explain(error, null, 'none'));
  }
  return json(answer);
}

/**
 * Health. The signed envelope comes as query parameters (v, kid, ts, nonce, body, sig).
 * @param {{parameter: Object<string, string>}} e
 */
function doGet(e) {
  const now = Date.now();
  try {
    const query = e.parameter;
    openEnvelope(Object.assign({}, query, { v: Number(query.v), ts: Number(query.ts) }), now);
    return json(health(now));
  } catch (error) {
    return json({ v: VERSION, kind: 'unsigned' });
  }
}

/** Chooses what the body's `op` asks for. */
function dispatch(body, startedAt) {
  if (body.op === 'ping') {
    const result = health(startedAt);
    return success(body.executionId || null, {
      status: 'done', result: result, replayed: false, usage: noUsage(), ms: Date.now() - startedAt,
    });
  }
  if (typeof body.executionId !== 'string' || !/^[A-Za-z0-9-]{1,64}$/.test(body.executionId)) {
    throw new FlowError('internal', 'BAD_REQUEST', 'executionId must be 1 to 64 letters, digits or -');
  }
  if (body.op === 'result') return lookUp(body.executionId, startedAt);
  if (body.op === 'run') return runOnce(body, startedAt);
  throw new FlowError('internal', 'BAD_REQUEST', 'op must be run, result or ping');
}

function health(now) {
  const mailRemaining = MailApp.getRemainingDailyQuota();
  const locale = Session.getActiveUserLocale();
  return { v: VERSION, build: BUILD, kind: 'health', now: now, locale: locale, mailRemaining: mailRemaining };
}

// ---------------------------------------------------------------------------------- envelope

/**
 * Verifies an envelope and opens its body. Cheap checks come first, and the nonce is noted only
 * behind a good signature, so that strangers cannot fill the cache.
 * @throws {FlowError} kind auth, without a word about what the body held.
 */
function openEnvelope(envelope, now) {
  const shaped = envelope && envelope.v === VERSION &&
    /^[A-Za-z0-9_-]{1,40}$/.test(envelope.kid) && Number.isInteger(envelope.ts) &&
    /^[A-Za-z0-9_-]{8,128}$/.test(envelope.nonce) && typeof envelope.body === 'string' &&
    /^[0-9a-f]{64}$/.test(envelope.sig);
  if (!shaped) throw new FlowError('auth', 'BAD_ENVELOPE', 'the envelope is not a signed version 1 envelope');

  if (Math.abs(now - envelope.ts * 1000) > CLOCK_SKEW_MS) {
    throw new FlowError('auth', 'STALE', 'ts is more than 300 s away from this clock');
  }
  const properties = PropertiesService.getScriptProperties();
  const secret = properties.getProperty('HMAC_' + envelope.kid);
  if (!secret) throw new FlowError('auth', 'UNKNOWN_KEY', 'this script has no property HMAC_<kid> with this kid');

  const signed = 'v1.' + envelope.kid + '.' + envelope.ts + '.' + envelope.nonce + '.' + envelope.body;
  const expected = hex(Utilities.computeHmacSha256Signature(signed, secret, Utilities.Charset.UTF_8));
  if (!equalInConstantTime(expected, envelope.sig)) {
    throw new FlowError('auth', 'BAD_SIGNATURE', 'the signature does not fit: compare HMAC_<kid> with the caller\'s key');
  }

  // Not atomic, and it need not be: two copies that slip in together meet again at the claim.
  const cache = CacheService.getScriptCache();
  const nonceKey = 'nonce.' + envelope.nonce;
  if (cache.get(nonceKey) !== null) throw new FlowError('auth', 'NONCE_USED', 'this nonce was seen before');
  cache.put(nonceKey, '1', NONCE_SECONDS);

  const padded = envelope.body + '='.repeat((4 - envelope.body.length % 4) % 4);
  const body = JSON.parse(Utilities.newBlob(Utilities.base64DecodeWebSafe(padded)).getDataAsString('UTF-8'));
  if (body.instance !== properties.getProperty('INSTANCE_NAME')) {
    throw new FlowError('auth', 'WRONG_INSTANCE', 'INSTANCE_NAME is not the instance that the caller meant');
  }
  return body;
}

/** Apps Script's bytes are signed: -128 to 127. */
function hex(bytes) {
  return bytes.map((b) => ((b + 256) % 256).toString(16).padStart(2, '0')).join('');
}

function equalInConstantTime(left, right) {
  let difference = left.length ^ right.length;
  for (let i = 0; i < left.length; i++) difference |= left.charCodeAt(i) ^ right.charCodeAt(i % right.length);
  return difference === 0;
}

function success(executionId, fields) {
  return {
    v: VERSION, ok: true, executionId: executionId, status: fields.status, result: fields.result,
    replayed: fields.replayed, usage: fields.usage, ms: fields.ms, build: BUILD,
  };
}

function failure(executionId, error) {
  delete error.acted;
  return { v: VERSION, ok: false, executionId: executionId, error: error };
}

function json(value) {
  return ContentService.createTextOutput(JSON.stringify(value)).setMimeType(ContentService.MimeType.JSON);
}

// -------------------------------------------------------------------------- execution record
//
// run.<id>          the record: status, until, done (steps finished), doing (side effect under
//                   way), results (inline, or a count of chunks), usage, error
// out.<id>.<i>.<c>  chunk c of the result of step i; written once, before the record that counts
//                   it, and never again: a run killed between two writes leaves no torn record
//
// status: running → done | stopped (may be resumed) | review (a person decides)

function readRecord(executionId) {
  const text = PropertiesService.getScriptProperties().getProperty(RECORD + executionId);
  return text === null ? null : JSON.parse(text);
}

/** Writes the record; makes room and tries once more when the store is full. */
function writeRecord(executionId, record) {
  const properties = PropertiesService.getScriptProperties();
  const spilled = spillLargeResults(executionId, record);
  record.at = Date.now();
  const write = () => {
    if (Object.keys(spilled).length) properties.setProperties(spilled);
    properties.setProperty(RECORD + executionId, asciiJson(record));
  };
  try {
    write();
  } catch (error) {
    if (!/storage quota/i.test(messageOf(error))) throw error;
    prune(executionId);
    write();
  }
}

/**
 * For the end of a run: what was done is done, and the caller must hear of it even if the store
 * refuses. The record then still says what was under way, and settles for review.
 */
function writeIfPossible(executionId, record) {
  try {
    writeRecord(executionId, record);
  } catch (error) {
    console.warn({ executionId: executionId, event: 'record not written', code: fromException(error).code });
  }
}

/** Moves results that do not fit into the record out of it. Returns the properties to write. */
function spillLargeResults(executionId, record) {
  const values = {};
  let inline = 0;
  record.results.forEach((slot, index) => {
    if (slot.chunks) return;
    const text = asciiJson(slot.value);
    if (inline + text.length <= INLINE_CHARS) {
      inline += text.length;
      return;
    }
    const count = Math.ceil(text.length / CHUNK_CHARS);
    for (let c = 0; c < count; c++) {
      values[CHUNK + executionId + '.' + index + '.' + c] = text.slice(c * CHUNK_CHARS, (c + 1) * CHUNK_CHARS);
    }
    record.results[index] = { name: slot.name, chunks: count };
  });
  return values;
}

/** All results of a record by step name, chunks put together again. */
function resultsOf(executionId, record) {
  const properties = PropertiesService.getScriptProperties();
  const byName = {};
  record.results.forEach((slot, index) => {
    let text = '';
    for (let c = 0; c < slot.chunks; c++) {
      text += properties.getProperty(CHUNK + executionId + '.' + index + '.' + c);
    }
    byName[slot.name] = slot.chunks ? JSON.parse(text) : slot.value;
  });
  return byName;
}

/**
 * Makes room. What is too old goes; then, oldest first and only until the store is well below its
 * limit: the results of finished executions (that they finished stays known), stopped ones which
 * had no effect, finished ones altogether, stopped ones, those for review. Running ones stay.
 */
function prune(keepId) {
  const properties = PropertiesService.getScriptProperties();
  const all = properties.getProperties();
  const records = {};
  let size = 0;
  Object.keys(all).forEach((key) => {
    size += key.length + all[key].length;
    if (!key.startsWith(RECORD) && !key.startsWith(CHUNK)) return;
    const id = key.slice(RECORD.length).split('.')[0];
    const entry = records[id] = records[id] || { id: id, keys: [], record: { status: 'stopped', at: 0 } };
    entry.keys.push(key);
    if (key.startsWith(RECORD)) entry.record = JSON.parse(all[key]);
  });
  const remove = (key) => {
    properties.deleteProperty(key);
    size -= key.length + all[key].length;
  };
  const drop = (entry) => entry.keys.splice(0).forEach(remove);
  const shrink = (entry) => {
    const key = RECORD + entry.id;
    const old = entry.record;
    entry.record = { status: 'done', forgotten: true, usage: old.usage, ms: old.ms, at: old.at };
    const text = asciiJson(entry.record);
    properties.setProperty(key, text);
    size += text.length - all[key].length;
    all[key] = text;
    entry.keys.filter((other) => other !== key).forEach(remove);
    entry.keys = [key];
  };
  const now = Date.now();
  const entries = Object.keys(records).map((id) => records[id])
    .filter((entry) => entry.id !== keepId).sort((a, b) => a.record.at - b.record.at);
  const pass = (always, fits, act) => entries.forEach((entry) => {
    if ((always || size > STORE_TARGET_CHARS) && entry.keys.length && fits(entry.record)) act(entry);
  });
  pass(true, (r) => now - r.at > (r.status === 'review' ? KEEP_REVIEW_MS : KEEP_MS), drop);
  pass(false, (r) => r.status === 'done' && !r.forgotten, shrink);
  pass(false, (r) => r.status === 'stopped' && !r.effects, drop);
  pass(false, (r) => r.status === 'done', drop);
  pass(false, (r) => r.status === 'stopped', drop);
  pass(false, (r) => r.status === 'review', drop);
}

// ----------------------------------------------------------------------------------- running

/**
 * Runs an execution, or returns what an earlier run of the same id made of it.
 * @param {{executionId: string, steps: Object[], input: *, deadlineMs: number}} body
 */
function runOnce(body, startedAt) {
  const executionId = body.executionId;
  const cached = cachedAnswer(executionId);
  if (cached) return cached;

  const deadline = startedAt + Math.min(MAX_BUDGET_MS, Number(body.deadlineMs) || MAX_BUDGET_MS);
  const steps = checkedSteps(body.steps);
  const claimed = claim(executionId, deadline + DEAD_AFTER_MS);
  if (claimed.answer) return claimed.answer;

  const cache = CacheService.getScriptCache();
  if (cache.get('pruned') === null) {
    cache.put('pruned', '1', PRUNE_EVERY_SECONDS);
    prune(executionId);
  }
  return runSteps(executionId, claimed.record, steps, body.input, { startedAt: startedAt, deadline: deadline });
}

/** Short pieces only: all runs of this project wait for one lock. */
function underLock(work) {
  const lock = LockService.getScriptLock();
  lock.waitLock(CLAIM_WAIT_MS);
  try {
    return work();
  } finally {
    lock.releaseLock();
  }
}

/** Takes the execution id: gives the record to work on, or the answer to return instead. */
function claim(executionId, until) {
  return underLock(() => {
    const found = readRecord(executionId);
    const answer = found && answerFrom(executionId, found, Date.now());
    if (answer && found.status !== 'stopped') return { answer: answer };
    const record = found || { done: 0, results: [], usage: noUsage(), effects: 0 };
    Object.assign(record, { status: 'running', until: until, doing: null, error: null });
    writeRecord(executionId, record);
    return { record: record };
  });
}

/** `op: result`: what is known here about an execution id. */
function lookUp(executionId, startedAt) {
  const cached = cachedAnswer(executionId);
  if (cached) return cached;
  const record = readRecord(executionId);
  if (!record) {
    throw new FlowError('internal', 'UNKNOWN_EXECUTION', 'this id never ran here, or was pruned', { retryable: true });
  }
  if (record.status !== 'running' || startedAt < record.until) return answerFrom(executionId, record, startedAt);
  // A dead run is settled under the lock: somebody else may be claiming it at this moment.
  return underLock(() => answerFrom(executionId, readRecord(executionId), startedAt));
}

/** The answer that a record gives by itself. Settles a dead run as stopped or for review. */
function answerFrom(executionId, record, now) {
  if (record.status === 'done') {
    return success(executionId, {
      status: 'done', result: record.forgotten ? null : resultsOf(executionId, record), replayed: true,
      usage: record.usage, ms: record.ms,
    });
  }
  if (record.status === 'running' && now < record.until) {
    return success(executionId, { status: 'in_progress', result: null, replayed: false, usage: noUsage(), ms: 0 });
  }
  if (record.status === 'running') {
    record.status = record.doing && !STEPS[record.doing.type].repeatable ? 'review' : 'stopped';
    record.error = record.status === 'review'
      ? reviewError(record.doing.name, null)
      : new FlowError('transient', 'RUN_DIED', 'the run ended without a word; it can be resumed', {
        ran: record.effects || record.doing ? 'partial' : 'none',
      }).toJSON();
    writeRecord(executionId, record);
  }
  return failure(executionId, record.error);
}

function runSteps(executionId, record, steps, input, time) {
  const scope = Object.assign({ input: input === undefined ? null : input }, resultsOf(executionId, record));
  const usage = record.usage;
  let size = asciiJson(scope).length - asciiJson(scope.input).length;

  for (let index = record.done; index < steps.length; index++) {
    const step = steps[index];
    const kind = STEPS[step.type];
    const ran = () => (record.effects || record.doing ? 'partial' : 'none');
    const context = { usage: usage, acted: false };
    try {
      requireTime(step, kind, time, ran());
      const args = checkedArguments(step, render(step.args || {}, scope, step.type === 'transform'));
      if (kind.effect) {
        record.doing = { name: step.name, type: step.type };
        writeRecord(executionId, record);
        // The write may have waited: past the deadline another run may already own this id.
        requireTime(step, kind, time, ran());
      }
      note(executionId, step.name, 'begin');
      const value = kind.run(args, context, scope);
      size += asciiJson(value).length;
      record.results[index] = { name: step.name, value: value };
      record.effects += kind.effect ? 1 : 0;
      record.doing = null;
      record.done = index + 1;
      scope[step.name] = value;
      if (size > MAX_RESULT_BYTES) {
        record.results[index].value = null;
        throw new FlowError('user', 'RESULT_TOO_LARGE', 'the results together are larger than 90 KB; ask for less');
      }
      if (kind.effect && index + 1 < steps.length) writeRecord(executionId, record);
    } catch (error) {
      return stop(executionId, record, step, explain(error, step.name, ran()), context);
    }
  }
  return finish(executionId, record, scope, steps, Date.now() - time.startedAt);
}

/** Ends a run early: resumable, unless a side effect was begun and its outcome is unknown. */
function stop(executionId, record, step, error, context) {
  const begun = record.doing !== null;
  const unclear = begun && !STEPS[step.type].repeatable && (context.acted || error.acted !== false);
  record.status = unclear ? 'review' : 'stopped';
  record.doing = null;
  record.error = unclear ? reviewError(step.name, error.service) : error;
  if (!unclear && !record.effects && !context.acted) record.error.ran = 'none';
  writeIfPossible(executionId, record);
  note(executionId, step.name, record.error.code);
  return failure(executionId, record.error);
}

function finish(executionId, record, scope, steps, ms) {
  const result = {};
  steps.forEach((step) => { result[step.name] = scope[step.name]; });
  record.status = 'done';
  record.ms = ms;
  writeIfPossible(executionId, record);
  const answer = success(executionId, { status: 'done', result: result, replayed: false, usage: record.usage, ms: ms });
  // At most 90 KB of results and a little around them: below the cache's 100 KB a value.
  CacheService.getScriptCache().put('answer.' + executionId, asciiJson(answer), ANSWER_CACHE_SECONDS);
  return answer;
}

/** The fast path to a finished answer. The cache may forget at any time; the record does not. */
function cachedAnswer(executionId) {
  const text = CacheService.getScriptCache().get('answer.' + executionId);
  return text === null ? null : Object.assign(JSON.parse(text), { replayed: true });
}

function requireTime(step, kind, time, ran) {
  if (Date.now() + kind.needsMs <= time.deadline) return;
  throw new FlowError('timeout', 'OUT_OF_TIME', 'not enough time was left to begin this step', {
    ran: ran, retryable: true, acted: false,
  });
}

const noUsage = () => ({ mail: 0, gmail: 0, urlfetch: 0 });

/** One log line per step: ids, names and codes, never what a message holds. */
function note(executionId, step, event) {
  console.info({ executionId: executionId, step: step, event: event });
}

// --------------------------------------------------------------------------------- templates

const WHOLE_TEMPLATE = /^\{\{\s*([^{}]+?)\s*\}\}$/;
const TEMPLATES = /\{\{\s*([^{}]+?)\s*\}\}/g;

/**
 * Fills the templates of a value. A string that is one template becomes the value itself.
 * @param {boolean} keepTemplate leaves the argument `template` alone: a transform fills it itself,
 *     once for each item.
 */
function render(value, scope, keepTemplate) {
  if (typeof value === 'string') {
    const whole = WHOLE_TEMPLATE.exec(value);
    if (whole) return valueAt(whole[1], scope);
    return value.replace(TEMPLATES, (match, path) => asText(valueAt(path, scope)));
  }
  if (Array.isArray(value)) return value.map((item) => render(item, scope, false));
  if (value === null || typeof value !== 'object') return value;
  const filled = {};
  Object.keys(value).forEach((key) => {
    filled[key] = keepTemplate && key === 'template' ? value[key] : render(value[key], scope, false);
  });
  return filled;
}

/** Walks own properties only, so that no path reaches a prototype. */
function valueAt(path, scope) {
  let value = scope;
  path.split('.').forEach((part) => {
    if (value === null || typeof value !== 'object' || !Object.prototype.hasOwnProperty.call(value, part)) {
      throw new FlowError('user', 'UNKNOWN_PATH', 'a template names ' + path.slice(0, 80) + ', which does not exist');
    }
    value = value[part];
  });
  return value;
}

function asText(value) {
  if (value === null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

// --------------------------------------------------------------------------------- arguments

/** Checks the whole flow before its first step runs: names, types, arguments. */
function checkedSteps(steps) {
  if (!Array.isArray(steps) || steps.length < 1 || steps.length > MAX_STEPS) {
    throw new FlowError('user', 'BAD_STEPS', 'steps must be a list of 1 to ' + MAX_STEPS);
  }
  const seen = { input: true, item: true };
  steps.forEach((step, index) => {
    const name = step && step.name;
    if (typeof name !== 'string' || !/^[a-z][a-z0-9_]{0,39}$/.test(name) || seen[name]) {
      throw new FlowError('user', 'BAD_STEP_NAME', 'step ' + index + ' needs a unique name of a-z, 0-9 and _');
    }
    seen[name] = true;
    if (!Object.prototype.hasOwnProperty.call(STEPS, step.type)) {
      throw new FlowError('user', 'UNKNOWN_STEP_TYPE', 'this type of step does not exist', { step: name });
    }
    checkedArguments(step, step.args || {});
  });
  return steps;
}

/** Checks a step's arguments by its table. A string that is one template passes as any type. */
function checkedArguments(step, args) {
  const table = STEPS[step.type].args;
  const refuse = (name, why) => {
    throw new FlowError('user', 'BAD_ARGUMENT', name + ' ' + why, { step: step.name, acted: false });
  };
  if (args === null || typeof args !== 'object' || Array.isArray(args)) refuse('args', 'must be an object');
  Object.keys(args).forEach((name) => {
    if (!Object.prototype.hasOwnProperty.call(table, name)) refuse(name.slice(0, 40), 'is no argument of ' + step.type);
  });
  Object.keys(table).forEach((name) => {
    const rule = table[name];
    const value = args[name];
    if (value === undefined) {
      if (rule.required) refuse(name, 'is required');
      return;
    }
    if (typeof value === 'string' && WHOLE_TEMPLATE.test(value)) return;
    const why = rule.check(value);
    if (why) refuse(name, why);
  });
  return args;
}

const isText = (value) => (typeof value === 'string' ? null : 'must be a string');
const isWord = (value) => (typeof value === 'string' && value.trim() ? null : 'must be a string that is not empty');
const isFlag = (value) => (typeof value === 'boolean' ? null : 'must be true or false');
const isList = (value) => (Array.isArray(value) ? null : 'must be a list');
const isCount = (value) =>
  (Number.isInteger(value) && value >= 1 && value <= 100 ? null : 'must be a whole number from 1 to 100');
const isRows = (value) => {
  if (!Array.isArray(value)) return 'must be a list of rows';
  if (value.length > 500) return 'must have at most 500 rows';
  return value.every((row) => Array.isArray(row) || (typeof row === 'string' && WHOLE_TEMPLATE.test(row)))
    ? null : 'must be a list of rows, each a list of cells';
};
const isTime = (value) =>
  (typeof value === 'string' && (/\{\{/.test(value) ||
    (/^\d{4}-\d\d-\d\d(T[0-9:.]+(Z|[+-]\d\d:?\d\d)?)?$/.test(value) && !isNaN(Date.parse(value))))
    ? null : 'must be a time as ISO 8601 has it');
const isAnything = () => null;

const required = (check) => ({ required: true, check: check });
const optional = (check) => ({ required: false, check: check });

// ------------------------------------------------------------------------------------- steps

const MAIL_ARGUMENTS = {
  to: required(isWord), subject: required(isText), body: required(isText),
  cc: optional(isText), bcc: optional(isText), html_body: optional(isText),
};

/**
 * What a flow can do. `effect`: it changes something outside, and is marked before and after.
 * `repeatable`: doing it again changes nothing further, so that a broken one may be resumed.
 * `needsMs`: the least time that must be left to begin it. `run(args, context)` sets
 * `context.acted` as soon as one change has been made.
 */
const STEPS = {
  'gmail.search': {
    args: { query: required(isText), max: optional(isCount) }, needsMs: 2000, run: gmailSearch,
  },
  'gmail.label': {
    args: { threads: required(isList), label: required(isWord), remove: optional(isFlag) },
    effect: true, repeatable: true, needsMs: 2000, run: gmailLabel,
  },
  'gmail.archive': {
    args: { threads: required(isList) }, effect: true, repeatable: true, needsMs: 2000, run: gmailArchive,
  },
  'gmail.draft': { args: MAIL_ARGUMENTS, effect: true, needsMs: 2000, run: gmailDraft },
  'gmail.send': {
    args: Object.assign({}, MAIL_ARGUMENTS, { reply_to: optional(isText) }),
    effect: true, needsMs: 2000, run: gmailSend,
  },
  'drive.save_attachments': {
    args: { threads: required(isList), folder: required(isWord), max: optional(isCount) },
    effect: true, needsMs: 5000, run: driveSaveAttachments,
  },
  'drive.create_file': {
    args: { name: required(isWord), content: required(isText), folder: optional(isWord), mime_type: optional(isWord) },
    effect: true, needsMs: 2000, run: driveCreateFile,
  },
  'sheets.append_rows': {
    args: { spreadsheet: required(isWord), rows: required(isRows), sheet: optional(isWord) },
    effect: true, needsMs: 5000, run: sheetsAppendRows,
  },
  'calendar.create_event': {
    args: {
      title: required(isWord), start: required(isTime), end: required(isTime), calendar: optional(isWord),
      description: optional(isText), location: optional(isText), guests: optional(isList),
    },
    effect: true, needsMs: 2000, run: calendarCreateEvent,
  },
  transform: {
    args: { template: required(isAnything), each: optional(isList) }, needsMs: 0, run: transform,
  },
};

function gmailSearch(args, context) {
  const threads = GmailApp.search(args.query, 0, args.max || 20);
  context.usage.gmail += 1;
  if (!threads.length) return { threads: [], count: 0 };
  const messages = GmailApp.getMessagesForThreads(threads);
  context.usage.gmail += 1;
  const found = threads.map((thread, index) => {
    context.usage.gmail += 1;
    return {
      id: thread.getId(),
      subject: thread.getFirstMessageSubject(),
      from: messages[index][0].getFrom(),
      date: thread.getLastMessageDate().toISOString(),
      messageCount: thread.getMessageCount(),
      unread: thread.isUnread(),
      hasAttachments: messages[index].some((message) => attachmentsOf(message, context).length > 0),
      labels: thread.getLabels().map((label) => label.getName()),
    };
  });
  return { threads: found, count: found.length };
}

function attachmentsOf(message, context) {
  context.usage.gmail += 1;
  return message.getAttachments({ includeInlineImages: false });
}

function gmailLabel(args, context) {
  const threads = threadsFrom(args.threads, context);
  context.usage.gmail += 1;
  let label = GmailApp.getUserLabelByName(args.label);
  if (!label && args.remove) return { label: args.label, changed: 0 };
  if (!label) {
    context.usage.gmail += 1;
    label = GmailApp.createLabel(args.label);
  }
  inBatches(threads, (batch) => {
    context.usage.gmail += 1;
    if (args.remove) label.removeFromThreads(batch);
    else label.addToThreads(batch);
    context.acted = true;
  });
  return { label: args.label, changed: threads.length };
}

function gmailArchive(args, context) {
  const threads = threadsFrom(args.threads, context);
  inBatches(threads, (batch) => {
    context.usage.gmail += 1;
    GmailApp.moveThreadsToArchive(batch);
    context.acted = true;
  });
  return { archived: threads.length };
}

function gmailDraft(args, context) {
  context.usage.gmail += 1;
  const draft = GmailApp.createDraft(args.to, args.subject, args.body, mailOptions(args));
  context.acted = true;
  return { draftId: draft.getId() };
}

function gmailSend(args, context) {
  GmailApp.sendEmail(args.to, args.subject, args.body, mailOptions(args));
  context.acted = true;
  context.usage.mail += [args.to, args.cc, args.bcc].filter(Boolean).join(',').split(',').length;
  return { sent: 1, to: args.to };
}

function mailOptions(args) {
  const options = {};
  if (args.cc) options.cc = args.cc;
  if (args.bcc) options.bcc = args.bcc;
  if (args.html_body) options.htmlBody = args.html_body;
  if (args.reply_to) options.replyTo = args.reply_to;
  return options;
}

function driveSaveAttachments(args, context) {
  const most = args.max || 20;
  const threads = threadsFrom(args.threads, context);
  const attachments = [];
  threads.forEach((thread) => {
    if (attachments.length >= most) return;
    context.usage.gmail += 1;
    thread.getMessages().forEach((message) => {
      if (attachments.length < most) attachments.push.apply(attachments, attachmentsOf(message, context));
    });
  });
  if (!attachments.length) return { saved: 0, files: [] };
  const folder = folderNamed(args.folder);
  const files = attachments.slice(0, most).map((attachment) => {
    const file = folder.createFile(attachment.copyBlob());
    context.acted = true;
    return { id: file.getId(), name: file.getName(), bytes: file.getSize() };
  });
  return { saved: files.length, files: files };
}

function driveCreateFile(args, context) {
  const place = args.folder ? folderNamed(args.folder) : DriveApp;
  const file = place.createFile(args.name, args.content, args.mime_type || 'text/plain');
  context.acted = true;
  return { fileId: file.getId(), name: file.getName() };
}

function sheetsAppendRows(args, context) {
  const book = SpreadsheetApp.openById(args.spreadsheet);
  const sheet = args.sheet ? book.getSheetByName(args.sheet) : book.getSheets()[0];
  if (!sheet) throw notFound('sheet names no sheet of this spreadsheet');
  // Row by row, for appendRow is atomic: two runs that write ranges could overwrite each other.
  args.rows.forEach((row) => {
    sheet.appendRow(row.map(asCell));
    context.acted = true;
  });
  return { appended: args.rows.length, sheet: sheet.getName() };
}

/** Text stays text: a subject such as `=IMPORTDATA(…)`, written by a stranger, must never compute. */
function asCell(value) {
  if (value !== null && typeof value === 'object') return JSON.stringify(value);
  return typeof value === 'string' && /^[=+@-]/.test(value) && isNaN(value) ? "'" + value : value;
}

function calendarCreateEvent(args, context) {
  const calendar = args.calendar ? CalendarApp.getCalendarById(args.calendar) : CalendarApp.getDefaultCalendar();
  if (!calendar) throw notFound('calendar names no calendar of this account');
  const start = new Date(args.start);
  const end = new Date(args.end);
  if (end <= start) throw new FlowError('user', 'BAD_ARGUMENT', 'end must be later than start', { acted: false });
  const options = {};
  if (args.description) options.description = args.description;
  if (args.location) options.location = args.location;
  if (args.guests && args.guests.length) {
    options.guests = args.guests.join(',');
    options.sendInvites = true;
  }
  const event = calendar.createEvent(args.title, start, end, options);
  context.acted = true;
  return { eventId: event.getId() };
}

function transform(args, context, scope) {
  if (!args.each) return { output: render(args.template, scope, false) };
  return { output: args.each.map((item) => render(args.template, Object.assign({}, scope, { item: item }), false)) };
}

/** Threads by id, from ids or from what gmail.search returned. */
function threadsFrom(list, context) {
  return list.map((entry) => {
    const id = entry !== null && typeof entry === 'object' ? entry.id : entry;
    context.usage.gmail += 1;
    const thread = /^[0-9a-f]{8,32}$/.test(id) ? GmailApp.getThreadById(id) : null;
    if (!thread) throw notFound('threads holds an id that is no thread of this account');
    return thread;
  });
}

function notFound(message) {
  return new FlowError('user', 'NOT_FOUND', message, { acted: false });
}

/** Gmail takes at most 100 threads in one call. */
function inBatches(threads, call) {
  for (let i = 0; i < threads.length; i += 100) call(threads.slice(i, i + 100));
}

function folderNamed(name) {
  const found = DriveApp.getFoldersByName(name);
  return found.hasNext() ? found.next() : DriveApp.createFolder(name);
}

// ------------------------------------------------------------------------------------ errors

/** An outcome with a kind. Messages are ours: names of fields and what to do, never contents. */
class FlowError extends Error {
  constructor(kind, code, message, more) {
    super(message);
    Object.assign(this, {
      kind: kind, code: code, service: null, step: null, ran: null,
      retryable: kind !== 'user' && kind !== 'internal' && kind !== 'auth',
    }, more);
  }

  toJSON() {
    return {
      kind: this.kind, code: this.code, service: this.service, message: this.message,
      step: this.step, ran: this.ran || 'none', retryable: this.retryable, acted: this.acted,
    };
  }
}

/**
 * Google's exceptions by their text, which comes in the account's language: English, and the
 * other ones where public reports show them. Fields: pattern, kind, code, message, and whether
 * the refused call may have acted all the same.
 */
const EXCEPTIONS = [
  [/too many times for one day|too much computer time (used )?for one day|1 ?日にサービス/i,
    'quota', 'DAILY_QUOTA', 'a daily quota of the account is used up', false],
  [/too many times in a short time|rate limit exceeded/i,
    'rate', 'TOO_FAST', 'the service was called too often in a short time', false],
  [/too many simultaneous invocations|too many scripts running simultaneously/i,
    'rate', 'TOO_MANY_AT_ONCE', 'the account runs too many scripts at once', false],
  [/authorization is required|required permissions|do(es)? not have permission to (call|perform)/i,
    'auth', 'NOT_AUTHORIZED', 'the account must authorise this script again', false],
  [/lock timeout|holding the lock/i,
    'lock', 'LOCK_TIMEOUT', 'another run held the script lock for too long', false],
  [/limit exceeded|limiet overschreden|argument too large/i,
    'user', 'LIMIT_EXCEEDED', 'a limit per message or per call was exceeded', false],
  [/invalid email|no recipient/i,
    'user', 'BAD_RECIPIENT', 'a recipient is missing or is no address', false],
  [/perhaps it was deleted|no item with|not found|permission to access the requested|property (openById|get\w+ById)/i,
    'user', 'NOT_FOUND', 'an id names nothing that this account can reach', false],
  [/invalid argument|parameters? .*(don't|do not) match|cannot (convert|find method)/i,
    'user', 'INVALID_ARGUMENT', 'the service refused an argument', false],
  [/maximum execution time/i,
    'timeout', 'EXECUTION_TIME', 'the run reached the time limit of Apps Script', undefined],
  [/server error occurred|service unavailable|(service|internal|unexpected) error|timed? ?out|try again later/i,
    'transient', 'SERVER_ERROR', 'the service failed for the moment', undefined],
];

const SERVICE_NAMES = /[:\s](gmail|email|urlfetch|drive|spreadsheets?|calendar|properties|cache)\b/i;

/** Any thrown thing as the `error` of an envelope, with the step's name. */
function explain(error, step, ran) {
  const known = error instanceof FlowError ? error : fromException(error);
  known.step = known.step || step;
  known.ran = known.ran || ran;
  return known.toJSON();
}

function fromException(error) {
  const text = messageOf(error);
  const service = (SERVICE_NAMES.exec(text) || [])[1];
  const more = { service: service ? service.toLowerCase() : null };
  const row = EXCEPTIONS.find((candidate) => candidate[0].test(text));
  if (row) return new FlowError(row[1], row[2], row[3], Object.assign(more, { acted: row[4] }));
  // An unknown text may quote a message, so that only the error's type and line go out.
  const line = /Code(?:\.gs)?:(\d+)/.exec(String(error && error.stack));
  const where = String((error && error.name) || 'Error').slice(0, 40) + (line ? ' in line ' + line[1] : '');
  return new FlowError('internal', 'UNEXPECTED', 'an unexpected ' + where, more);
}

function reviewError(step, service) {
  return {
    kind: 'internal', code: 'NEEDS_REVIEW', service: service,
    message: 'a side effect was begun and its outcome is unknown; it is not repeated: look, then decide',
    step: step, ran: 'partial', retryable: false,
  };
}

// ------------------------------------------------------------------------------- small tools

function parsedOrNull(text) {
  try {
    return JSON.parse(text);
  } catch (error) { return null; }
}

const messageOf = (error) => String((error && error.message) || error);

/** JSON in ASCII alone: a character is a byte, and a chunk never splits a character. */
function asciiJson(value) {
  return JSON.stringify(value === undefined ? null : value)
    .replace(/[\u007f-\uffff]/g, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
}
