import { element } from "./dom.js";

const UNITS = [["d", 86400], ["h", 3600], ["min", 60]];

/** What an answer says of the features that it was made of: how old they were, and which had to be done without. */
export function describeFeatures(ages, degraded) {
  const made = [];
  if (degraded) {
    const sources = degraded.split(",").join(", ");
    made.push(
      element("p", { class: "degraded", role: "alert" }, element("strong", {}, "Degraded."), ` The store gave nothing of ${sources}: defaults were used.`),
    );
  }
  if (ages) {
    const rows = ages.split(",").map((one) => one.split("="));
    made.push(
      element("h3", {}, "Age of the features"),
      element("dl", { class: "ages" }, ...rows.map(([source, age]) => element("div", {}, element("dt", {}, decodeURIComponent(source)), element("dd", {}, ageOf(age))))),
    );
  }
  return made;
}

function ageOf(text) {
  if (!text) return "none";
  const seconds = Number(text);
  const [unit, size] = UNITS.find(([, length]) => seconds >= length) ?? ["s", 1];
  return `${(seconds / size).toLocaleString("en", { maximumFractionDigits: 1 })} ${unit}`;
}
