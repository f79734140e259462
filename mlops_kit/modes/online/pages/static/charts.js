import { element } from "./dom.js";

const SECONDS = 60;
const WIDTH = 240;
const HEIGHT = 64;
const SVG = "http://www.w3.org/2000/svg";

/** A line of the last minute. `show(undefined)` is a second in which there was nothing to measure. */
export class Chart {
  constructor(title, unit) {
    this.values = new Array(SECONDS).fill(undefined);
    this.title = title;
    this.unit = unit;
    this.now = element("p", { class: "now" });
    this.most = element("span", { class: "most", "aria-hidden": "true" });
    this.area = path("area");
    this.line = path("line");
    this.svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    for (const y of [0, HEIGHT / 2, HEIGHT]) this.svg.append(svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
    this.svg.append(this.area, this.line);
    this.root = element(
      "div",
      { class: "chart" },
      element("div", { class: "top" }, element("h3", {}, title), this.now),
      element("div", { class: "plot" }, this.svg, this.most),
    );
    this.draw();
  }

  show(value) {
    this.values = [...this.values.slice(1), value];
    this.draw();
  }

  draw() {
    const known = this.values.filter((value) => value !== undefined);
    const most = roundUp(Math.max(...known, 0));
    const runs = runsOf(this.values, most);
    this.line.setAttribute("d", runs.map((run) => `M${run.join("L")}${run.length === 1 ? "h0" : ""}`).join(""));
    this.area.setAttribute("d", runs.map(areaUnder).join(""));
    this.line.dataset.points = known.length;
    const last = this.values.at(-1);
    const text = last === undefined ? "–" : digits(last);
    this.now.replaceChildren(text, element("span", {}, ` ${this.unit}`));
    this.most.textContent = known.length && most ? digits(most) : "";
    this.svg.setAttribute("aria-label", `${this.title}, last minute: now ${text} ${this.unit}, at most ${digits(Math.max(...known, 0))}`);
  }
}

/** What happened between two readings of a model's statistics; undefined where nothing did. */
export function ratesBetween(before, after) {
  const seconds = (after.at - before.at) / 1000;
  const done = (key) => after.stats.inference_stats[key].count - before.stats.inference_stats[key].count;
  const requests = done("success");
  const runs = after.stats.execution_count - before.stats.execution_count;
  // A model that was loaded anew counts from zero.
  if (requests < 0 || runs < 0) return {};
  const ns = after.stats.inference_stats.success.ns - before.stats.inference_stats.success.ns;
  const rows = after.stats.inference_count - before.stats.inference_count;
  return {
    requests: requests / seconds,
    latency: requests ? ns / requests / 1e6 : undefined,
    batch: runs ? rows / runs : undefined,
  };
}

/** Numbers of about three digits. */
function digits(value) {
  return value.toLocaleString("en", { maximumSignificantDigits: value >= 1000 ? 4 : 3 });
}

function roundUp(value) {
  if (!value) return 0;
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * size >= value) * size;
}

function runsOf(values, most) {
  const runs = [];
  let run = [];
  values.forEach((value, index) => {
    if (value === undefined) {
      run = [];
      return;
    }
    if (!run.length) runs.push(run);
    const x = (index / (SECONDS - 1)) * WIDTH;
    run.push(`${x.toFixed(2)} ${(HEIGHT - (most ? value / most : 0) * HEIGHT).toFixed(2)}`);
  });
  return runs;
}

function areaUnder(run) {
  const [first, last] = [run[0], run.at(-1)].map((point) => point.split(" ")[0]);
  return `M${first} ${HEIGHT}L${run.join("L")}L${last} ${HEIGHT}Z`;
}

function path(name) {
  return svg("path", { class: name });
}

function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
