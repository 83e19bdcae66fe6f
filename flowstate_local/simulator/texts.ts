/**
 * Google's exception texts as public reports quote them, in the account's language where one is
 * known. Only the texts that scripts can meet are here.
 */

const ENGLISH: Record<string, (service: string) => string> = {
  daily_quota: (service) => `Service invoked too many times for one day: ${service}.`,
  rate_service: (service) =>
    `Service invoked too many times in a short time: ${service}. ` +
    "Try Utilities.sleep(1000) between calls.",
  concurrency: (service) => `Too many simultaneous invocations: ${service}`,
  needs_auth: () => "Authorization is required to perform that action.",
  lock: () => "Lock timeout: another process was holding the lock for too long.",
  transient: () => "We're sorry, a server error occurred. Please wait a bit and try again.",
  flow_error: () => "Limit exceeded: Email Total Attachments Size Per Message.",
};

const OTHERS: Record<string, Record<string, (service: string) => string>> = {
  ja: { daily_quota: (service) => `1 日にサービス ${service} を実行した回数が多すぎます。` },
  nl: { flow_error: () => "Limiet overschreden: Totale grootte e-mailbijlagen." },
};

export function exceptionText(kind: string, service: string, locale: string): string {
  const text = OTHERS[locale]?.[kind] ?? ENGLISH[kind];
  if (!text) throw new TypeError(`there is no exception text for ${kind}`);
  return text(service);
}
