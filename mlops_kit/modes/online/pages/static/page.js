import { Refusal, ask, askJson, onKey } from "./api.js";
import { Chart, ratesBetween } from "./charts.js";
import { byId, element } from "./dom.js";
import { describeFeatures } from "./features.js";
import { makeField, makeOverride } from "./fields.js";

const STATISTICS_MS = 1000;
const MODELS_MS = 5000;
const LONG = 16;
const AGES = "x-mlkit-feature-ages";

let models = [];
let chosen;
let fields = [];
let charts = {};
let before;

async function refreshModels() {
  try {
    ({ models } = await askJson("models"));
    const isReady = models.every((model) => model.is_ready);
    tellState(isReady ? "ready" : "loading", isReady ? "Ready" : "Loading models…");
    byId("main").hidden = false;
    choose(models.find((model) => model.name === (chosen?.name ?? wanted())) ?? models[0]);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    tellTrouble(error);
  }
}

function wanted() {
  return decodeURIComponent(location.hash.slice(1));
}

function tellTrouble({ status, message }) {
  tellState("gone", { 0: "Does not answer", 401: "Needs a key" }[status] ?? message);
}

function tellState(state, text) {
  const told = byId("state");
  // Screen readers speak whatever is set, even if it is the same.
  if (told.textContent !== text) told.textContent = text;
  told.dataset.state = state;
}

/** Show a model; the form is only made anew for another one, because somebody may be typing. */
function choose(model) {
  const isOther = model.name !== chosen?.name || model.digest !== chosen.digest;
  const isRenamed = model.name !== chosen?.name;
  chosen = model;
  showChoices();
  showFacts();
  if (!isOther) return;
  showForm();
  if (isRenamed) showNothing();
  startCharts();
}

function showChoices() {
  const names = models.map((model) => model.name);
  const group = byId("choices");
  group.hidden = names.length < 2;
  if (JSON.stringify(names) !== group.dataset.names) {
    group.dataset.names = JSON.stringify(names);
    group.replaceChildren(...models.map((model, index) => choiceButton(model.name, index)));
  }
  for (const button of group.children) {
    button.setAttribute("aria-pressed", String(names[button.value] === chosen.name));
  }
}

function choiceButton(name, index) {
  const button = element("button", { type: "button", value: index }, name);
  button.addEventListener("click", () => {
    history.replaceState(null, "", `#${encodeURIComponent(name)}`);
    choose(models[index]);
  });
  return button;
}

function showFacts() {
  const { name, version, digest, loaded_at: loadedAt, refusal, is_ready: isReady } = chosen;
  document.title = `${name} · mlkit serve`;
  byId("name").textContent = name;
  byId("version").textContent = version ?? "–";
  byId("digest").textContent = digest ?? "–";
  byId("loaded").textContent = loadedAt ? ago(loadedAt) : "not yet";
  byId("loaded").dateTime = loadedAt ?? "";
  byId("loaded").title = loadedAt ? new Date(loadedAt).toLocaleString() : "";
  byId("refusal").hidden = !refusal;
  const still = isReady ? " The version before it goes on answering." : "";
  byId("refusal").replaceChildren(element("strong", {}, "The last bundle was refused."), `${still} ${refusal}`);
  byId("predict").disabled = !isReady;
}

function ago(time) {
  const seconds = Math.max(0, (Date.now() - new Date(time)) / 1000);
  const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
  const [unit, size] = units.find(([, length]) => seconds >= length) ?? [];
  if (!unit) return "just now";
  return new Intl.RelativeTimeFormat("en").format(-Math.floor(seconds / size), unit);
}

function showForm() {
  const inputs = chosen.inputs ?? [];
  const optional = chosen.optional_inputs ?? [];
  const keys = new Set(chosen.keys);
  const needed = inputs.map((column, index) => ({
    name: column.name,
    isKey: keys.has(column.name),
    ...makeField(column, chosen.example[column.name], `field-${index}`),
  }));
  const overrides = optional.map((column, index) => ({
    name: column.name,
    ...makeOverride(column, `override-${index}`),
  }));
  fields = [...needed, ...overrides];
  byId("keys").replaceChildren(...needed.filter(({ isKey }) => isKey).map(({ field }) => field));
  byId("fields").replaceChildren(...needed.filter(({ isKey }) => !isKey).map(({ field }) => field));
  byId("overrides").replaceChildren(...overrides.map(({ field }) => field));
  for (const part of ["keys-part", "fields-title", "overrides-part"]) byId(part).hidden = !optional.length;
  byId("fields-part").hidden = needed.every(({ isKey }) => isKey);
  byId("count").textContent = `${inputs.length === 1 ? "1 column" : `${inputs.length} columns`}, a golden row`;
}

async function predict(event) {
  event.preventDefault();
  byId("answer").setAttribute("aria-busy", "true");
  byId("predict").disabled = true;
  try {
    const values = fields.map(({ name, read }) => [name, read()]).filter(([, value]) => value !== undefined);
    const row = values.map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join(",\n  ");
    const sent = `{"inputs": {\n  ${row}\n}}`;
    const path = `models/${encodeURIComponent(chosen.name)}/invocations`;
    const started = performance.now();
    const asking = { "Content-Type": "application/json", ...(chosen.optional_inputs?.length && { [AGES]: "true" }) };
    const { text: received, headers } = await ask(path, { method: "POST", body: sent, headers: asking });
    showAnswer(JSON.parse(received).predictions[0], performance.now() - started);
    byId("answer").append(...describeFeatures(headers.get(AGES), headers.get("x-mlkit-degraded")));
    showExchange(sent, received);
  } catch (error) {
    showRefusal(error);
  } finally {
    byId("answer").removeAttribute("aria-busy");
    byId("predict").disabled = false;
    // On a narrow screen it is below the form.
    byId("answer").parentElement.scrollIntoView({ block: "nearest" });
  }
}

function showAnswer(outputs, milliseconds) {
  const rows = Object.entries(outputs).map(([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const told = element("dd", { class: text.length > LONG ? "long" : "short" }, text);
    return element("div", {}, element("dt", {}, name), told);
  });
  byId("answer").replaceChildren(element("dl", { class: rows.length === 1 ? "alone" : "several" }, ...rows));
  byId("latency").textContent = `${milliseconds.toFixed(1)} ms round trip`;
}

function showExchange(sent, received) {
  byId("sent").textContent = sent;
  byId("received").textContent = received;
  byId("exchange").hidden = false;
}

function showRefusal(error) {
  const title = error.status ? `Refused (${error.status})` : "Not sent";
  if (error.status === 0) tellTrouble(error);
  byId("answer").replaceChildren(element("p", { class: "refused" }, element("strong", {}, title), error.message));
  byId("latency").textContent = "";
  byId("exchange").hidden = true;
}

function showNothing() {
  byId("answer").replaceChildren(element("p", { class: "empty" }, "Press Predict to ask the model about this row."));
  byId("latency").textContent = "";
  byId("exchange").hidden = true;
}

function startCharts() {
  before = undefined;
  charts = {
    requests: new Chart("Requests answered", "/s"),
    latency: new Chart("Mean time in the server", "ms"),
    batch: new Chart("Mean batch", "rows"),
  };
  byId("charts").replaceChildren(...Object.values(charts).map(({ root }) => root));
}

async function refreshStatistics() {
  const { name } = chosen;
  try {
    const found = await askJson(`v2/models/${encodeURIComponent(name)}/stats`);
    const after = { name, at: performance.now(), stats: found.model_stats[0] };
    if (name !== chosen.name) return;
    const rates = before ? ratesBetween(before, after) : {};
    for (const [key, chart] of Object.entries(charts)) chart.show(rates[key]);
    before = after;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    for (const chart of Object.values(charts)) chart.show(undefined);
  }
}

/** Again and again, but never before the last time has ended. */
async function repeat(action, milliseconds) {
  await action();
  setTimeout(() => repeat(action, milliseconds), milliseconds);
}

byId("inputs").addEventListener("submit", predict);
byId("inputs").addEventListener("reset", (event) => {
  event.preventDefault();
  showForm();
});
byId("state").hidden = false;
onKey(refreshModels);
repeat(refreshModels, MODELS_MS);
repeat(async () => chosen?.is_ready && !byId("main").hidden && (await refreshStatistics()), STATISTICS_MS);
