const LINE = 88;

/** A command for a POSIX shell. */
export function curlOf({ url, method, type, value, needsKey }) {
  const parts = [`curl ${quoted(url)}`];
  if (needsKey) parts.push('-H "Authorization: Bearer $MLKIT_KEY"');
  if (type) {
    parts.push(`-H ${quoted(`Content-Type: ${type}`)}`);
    parts.push(`--data-raw ${quoted(typeof value === "string" ? value : layOut(value))}`);
  } else if (method !== "get") {
    parts.push(`-X ${method.toUpperCase()}`);
  }
  return parts.join(" \\\n  ");
}

/** JSON over several lines only where it is too long for one. */
export function layOut(value, indent = "") {
  const line = JSON.stringify(value);
  if (line.length + indent.length <= LINE || value === null || typeof value !== "object") return line;
  const deeper = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.every((one) => one === null || typeof one !== "object")) return line;
    return `[\n${value.map((one) => deeper + layOut(one, deeper)).join(",\n")}\n${indent}]`;
  }
  const entries = Object.entries(value).map(([key, one]) => `${deeper}${JSON.stringify(key)}: ${layOut(one, deeper)}`);
  return `{\n${entries.join(",\n")}\n${indent}}`;
}

function quoted(text) {
  return /^[\w:/.,@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
