import { element } from "./dom.js";

const BITS = /^u?int(\d+)$/;

/** An input for a column. `read()` gives the value as JSON; it throws SyntaxError for what is none. */
export function makeField(column, value, id) {
  const kind = column.shape.length ? listInput : column.dtype === "bool" ? checkbox : column.dtype === "string" ? text : number;
  const { input, extra = [], read } = kind(column, value, id);
  const field = element(
    "div",
    { class: column.shape.length ? "field wide" : "field" },
    element(
      "div",
      { class: "top" },
      element("label", { for: id }, column.name),
      element("span", { class: "type" }, typeOf(column)),
    ),
    element("div", { class: "value" }, input, ...extra),
  );
  if (!column.is_nullable) return { field, read };
  const missing = missingBox(column, input, value === null);
  field.firstChild.append(missing.label);
  return { field, read: () => (missing.box.checked ? "null" : read()) };
}

/** An input for a feature, which is looked up until somebody ticks that it is not; `read()` is undefined then. */
export function makeOverride(column, id) {
  const { field, read } = makeField({ ...column, is_nullable: false }, null, id);
  const input = field.querySelector(`#${id}`);
  const box = element("input", { type: "checkbox", "aria-label": `give ${column.name}` });
  const follow = () => {
    input.disabled = !box.checked;
    field.classList.toggle("looked-up", !box.checked);
    if (box.checked) input.focus();
  };
  box.addEventListener("change", follow);
  follow();
  field.firstChild.append(element("label", { class: "missing" }, box, "give"));
  if (column.source) field.append(element("p", { class: "source" }, `from ${column.source}`));
  return { field, read: () => (box.checked ? read() : undefined) };
}

function typeOf({ dtype, shape }) {
  const name = dtype === "string" ? "text" : dtype;
  return shape.length ? `${name} [${shape.map((size) => size ?? "any").join(", ")}]` : name;
}

function missingBox(column, input, isMissing) {
  const box = element("input", { type: "checkbox", checked: isMissing, "aria-label": `${column.name} is missing` });
  const follow = () => {
    input.disabled = box.checked;
  };
  box.addEventListener("change", follow);
  follow();
  return { box, label: element("label", { class: "missing" }, box, "null") };
}

function number(column, value, id) {
  const bits = Number(BITS.exec(column.dtype)?.[1] ?? 0);
  const input = element("input", { id, type: "number", step: bits ? 1 : "any", required: true, value: value ?? "" });
  // Beyond 53 bits the browser's own limits would be rounded.
  if (bits && bits <= 32) {
    const isSigned = column.dtype.startsWith("int");
    input.min = isSigned ? -(2 ** (bits - 1)) : 0;
    input.max = 2 ** (isSigned ? bits - 1 : bits) - 1;
  }
  // Whole numbers are never floats here: the last digits of a 64-bit one would be lost.
  const read = () => (bits && /^[+-]?\d+$/.test(input.value) ? BigInt(input.value) : Number(input.value)).toString();
  return { input, read };
}

function text(column, value, id) {
  const input = element("input", { id, type: "text", autocomplete: "off", spellcheck: "false", value: value ?? "" });
  return { input, read: () => JSON.stringify(input.value) };
}

function checkbox(column, value, id) {
  const input = element("input", { id, type: "checkbox", checked: value === true });
  const truth = element("span", { class: "truth", "aria-hidden": "true" });
  const follow = () => {
    truth.textContent = String(input.checked);
  };
  input.addEventListener("change", follow);
  follow();
  return { input, extra: [truth], read: () => JSON.stringify(input.checked) };
}

function listInput(column, value, id) {
  const input = element("textarea", { id, rows: 2, spellcheck: "false", required: true }, JSON.stringify(value));
  const read = () => {
    try {
      JSON.parse(input.value);
    } catch {
      throw new SyntaxError(`${column.name}: this is no list of values, such as [1, 2, 3]`);
    }
    return input.value;
  };
  return { input, read };
}
