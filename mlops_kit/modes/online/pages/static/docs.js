import { Refusal, askJson, onKey } from "./api.js";
import { curlOf, layOut } from "./curl.js";
import { byId, element } from "./dom.js";

const VERSIONED = /\/versions\/\{version\}/;

async function show() {
  try {
    const description = await askJson("openapi.json");
    byId("main").replaceChildren(introduction(description), ...description.tags.map((tag) => section(description, tag)));
    byId("contents").replaceChildren(...description.tags.map((tag) => contents(description, tag)));
    // The place that the address names was not there when the browser looked for it.
    byId(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    byId("main").replaceChildren(element("p", { class: "notice" }, error.message));
  }
}

function introduction({ info }) {
  return element("header", {}, element("h1", {}, "What this server answers"), prose(info.description));
}

/** The operations of a tag; those of one version only are told of beside those of any. */
function operationsOf({ paths }, tag) {
  return Object.entries(paths)
    .flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })))
    .filter((operation) => operation.tags.includes(tag.name) && !VERSIONED.test(operation.path))
    .map((operation) => ({ ...operation, also: versionedPath(paths, operation) }));
}

function versionedPath(paths, { path, operationId }) {
  const id = operationId.concat(".version");
  const [found, methods] = Object.entries(paths).find(([, of]) => Object.values(of).some((one) => one.operationId === id)) ?? [];
  if (!found || found === path) return undefined;
  const [operation] = Object.values(methods);
  return found.replace("{version}", operation.parameters.find(({ name }) => name === "version").schema.enum[0]);
}

function contents(description, tag) {
  const links = operationsOf(description, tag).map(({ operationId, summary }) =>
    element("li", {}, element("a", { href: `#${encodeURIComponent(operationId)}` }, summary)),
  );
  return element("section", {}, element("h2", {}, tag.name), element("ul", {}, ...links));
}

function section(description, tag) {
  const made = element("section", { class: "section" }, element("h2", {}, tag.name), prose(tag.description));
  if (tag["x-inputs"]) made.append(columnsTable("Input", lookUp(description, tag["x-inputs"]), "refused"));
  if (tag["x-outputs"]) made.append(columnsTable("Output", lookUp(description, tag["x-outputs"]), "never"));
  made.append(...operationsOf(description, tag).map((operation) => article(description, operation)));
  return made;
}

function lookUp(description, { $ref }) {
  return $ref.slice(2).split("/").reduce((part, name) => part[name], description);
}

function columnsTable(title, schema, otherwise) {
  const rows = Object.entries(schema.properties).map(([name, value]) => [name, typeOf(value), isNullable(value) ? "null" : otherwise]);
  return table([title, "Type", "Missing values"], rows);
}

function typeOf(schema) {
  if (schema.type === "array") return `list of ${schema.maxItems ?? "any number"} × ${typeOf(schema.items)}`;
  const [type] = [schema.type].flat();
  return schema.format ? `${type} (${schema.format})` : type;
}

function isNullable(schema) {
  return [schema.type].flat().includes("null");
}

function table(heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell))));
  return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
}

function article(description, operation) {
  const { path, method, operationId, summary, description: explained, also, parameters = [] } = operation;
  const made = element(
    "article",
    { class: "card operation", id: operationId },
    element("h3", { class: "title" }, summary),
    element("p", { class: "address" }, element("span", { class: `method ${method}` }, method.toUpperCase()), element("span", {}, decodeURIComponent(path))),
  );
  if (also) made.append(element("p", { class: "address also" }, element("span", {}, "also"), element("span", {}, decodeURIComponent(also))));
  if (explained) made.append(prose(explained));
  made.append(...examples(description, operation));
  if (parameters.length) {
    const rows = parameters.map(({ name, description: text }) => [element("code", {}, name), prose(text)]);
    made.append(element("h4", {}, "Headers"), table(["Name", "Meaning"], rows));
  }
  made.append(answers(operation));
  return made;
}

function examples(description, { path, method, requestBody }) {
  const request = { url: new URL(`.${path}`, location.href).href, method, needsKey: "security" in description };
  const bodies = Object.entries(requestBody?.content ?? {}).flatMap(([type, { examples: given = {} }]) =>
    Object.values(given).map(({ summary, value }) => ({ title: summary, command: curlOf({ ...request, type, value }) })),
  );
  const all = requestBody ? bodies : [{ title: "Ask", command: curlOf(request) }];
  const [first, ...others] = all.map(({ title, command }) => copyable(title, command));
  return others.length ? [first, element("details", {}, element("summary", {}, "Other forms"), ...others)] : [first];
}

function copyable(title, command) {
  const button = element("button", { type: "button", "aria-label": `Copy: ${title}` }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command);
    button.textContent = "Copied";
    setTimeout(() => button.replaceChildren("Copy"), 2000);
  });
  const isAllowed = navigator.clipboard !== undefined;
  return element(
    "div",
    { class: "example" },
    element("div", { class: "top" }, element("p", {}, title), ...(isAllowed ? [button] : [])),
    element("pre", { class: "curl", tabindex: "0" }, command),
  );
}

function answers({ responses }) {
  const example = responses["200"]?.content?.["application/json"]?.example;
  const rows = Object.entries(responses).map(([status, { description }]) => [status, prose(description)]);
  const shown = example ? [element("h4", {}, "Answer"), element("pre", { tabindex: "0" }, layOut(example))] : [];
  const codes = Object.keys(responses).map((status) => element("code", {}, status));
  const statuses = element("details", { class: "statuses" }, element("summary", {}, "Statuses", ...codes), table(["Status", "Meaning"], rows));
  return element("div", {}, ...shown, statuses);
}

/** A paragraph; what is between backticks is code. */
function prose(text) {
  const parts = text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
  return element("p", {}, ...parts);
}

onKey(show);
show();
