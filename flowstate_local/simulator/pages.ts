/**
 * The HTML pages which Google answers with in place of a script. Their words are localised by the
 * account's language, so that a client which reads English alone is found out.
 */

export interface Reply {
  status: number;
  headers: Record<string, string>;
  body: string;
}

type PageName = keyof typeof ENGLISH;

const ENGLISH = {
  not_found: "Sorry, unable to open the file at this time. Please check the address and try again.",
  meet_drive: "Meet Google Drive – One place for all your files",
  access_denied: "Google Drive - Access Denied",
  needs_auth: "Authorization needed. This app needs your permission to run as you.",
  function_missing: "Script function not found: {detail}",
  no_return: "The script completed but did not return anything.",
  concurrency: "There are too many scripts running simultaneously for this Google user account.",
  timeout: "Exceeded maximum execution time",
  transient: "We're sorry, a server error occurred. Please wait a bit and try again.",
  script_error: "{detail}",
};

const OTHERS: Record<string, Partial<Record<PageName, string>>> = {
  de: {
    not_found: "Die Datei kann derzeit nicht geöffnet werden. Bitte überprüfen Sie die Adresse.",
    access_denied: "Google Drive - Zugriff verweigert",
    needs_auth: "Autorisierung erforderlich.",
    function_missing: "Skriptfunktion nicht gefunden: {detail}",
    no_return: "Das Skript wurde abgeschlossen, hat jedoch nichts zurückgegeben.",
    concurrency: "Für dieses Google-Nutzerkonto werden zu viele Skripts gleichzeitig ausgeführt.",
    timeout: "Maximale Ausführungszeit überschritten",
    transient:
      "Es ist ein Serverfehler aufgetreten. Bitte warten Sie kurz und versuchen Sie es erneut.",
  },
  pt: {
    not_found: "Não é possível abrir o arquivo no momento. Verifique o endereço e tente novamente.",
    access_denied: "Google Drive - Acesso negado",
    needs_auth: "É necessária autorização.",
    function_missing: "Função de script não encontrada: {detail}",
    no_return: "O script foi concluído, mas não retornou nada.",
    concurrency: "Há muitos scripts em execução simultânea para esta conta de usuário do Google.",
    timeout: "O tempo máximo de execução foi excedido",
    transient: "Ocorreu um erro no servidor. Aguarde um pouco e tente novamente.",
  },
  fa: {
    not_found: "متأسفیم، اکنون باز کردن فایل ممکن نیست. لطفاً نشانی را بررسی کنید.",
    concurrency: "اسکریپت‌های زیادی هم‌زمان برای این حساب در حال اجرا هستند.",
    transient: "خطایی در سرور روی داد. لطفاً کمی صبر کنید و دوباره تلاش کنید.",
  },
};

const STATUS: Partial<Record<PageName, number>> = { not_found: 404, access_denied: 403 };

const escaped = (text: string) =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** A page by name: status 200 but for the two of Google Drive. */
export function page(name: PageName, locale: string, detail = ""): Reply {
  const text = (OTHERS[locale]?.[name] ?? ENGLISH[name]).replace("{detail}", detail);
  const title = name === "not_found" || name === "access_denied" ? "Google Drive" : "Error";
  return html(
    STATUS[name] ?? 200,
    `<!DOCTYPE html><html lang="${locale}"><head><title>${title}</title></head>` +
      `<body><div style="text-align:center">${escaped(text)}</div></body></html>`,
  );
}

export function html(status: number, body: string): Reply {
  return { status, headers: { "content-type": "text/html; charset=utf-8" }, body };
}

export function plain(status: number, body: string, headers: Record<string, string> = {}): Reply {
  return { status, headers: { "content-type": "text/plain; charset=utf-8", ...headers }, body };
}

export function redirect(location: string): Reply {
  return {
    status: 302,
    headers: { "content-type": "text/html; charset=utf-8", location, "cache-control": "no-store" },
    body: `<html><head><title>Moved Temporarily</title></head></html>`,
  };
}

export function loginRedirect(path: string): Reply {
  const back = encodeURIComponent(`https://script.google.com${path}`);
  return redirect(`https://accounts.google.com/v3/signin/identifier?continue=${back}`);
}
