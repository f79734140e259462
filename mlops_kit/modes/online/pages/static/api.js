import { byId } from "./dom.js";

const KEY = "mlkit-key";

/** What the server says when it does not answer with what was asked for. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The text of an answer, and its headers. Throws Refusal, with status 0 where there is no answer at all. */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  const key = sessionStorage.getItem(KEY);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response, text;
  try {
    response = await fetch(path, { ...options, headers });
    text = await response.text();
  } catch {
    throw new Refusal(0, "The server does not answer. Is it still running?");
  }
  if (response.ok) return { text, headers: response.headers };
  if (response.status === 401) askForKey();
  throw new Refusal(response.status, messageOf(text) || response.statusText);
}

export async function askJson(path, options) {
  return JSON.parse((await ask(path, options)).text);
}

/** Call `again` when somebody has given a key. */
export function onKey(again) {
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, byId("key").value.trim());
    byId("key").value = "";
    byId("key-form").hidden = true;
    again();
  });
}

function askForKey() {
  sessionStorage.removeItem(KEY);
  byId("key-form").hidden = false;
}

function messageOf(text) {
  try {
    const { message, error } = JSON.parse(text);
    return message ?? error;
  } catch {
    return text;
  }
}
