// Follows a changelog with nothing but GET and JSON: prints each data file as it is committed, one JSON object a line.
//     node examples/follow.mjs <URL that serves the changelog root> [version to go on after] [--once]
// Without a version it begins at the newest checkpoint. A file that is told twice has the same version.
const [root = "", ...rest] = process.argv.slice(2);
const get = async (key) => {
  const answer = await fetch(`${root}/${key}`);
  if (answer.ok || answer.status === 404) return answer.ok ? answer.text() : null;
  throw new Error(`GET ${key}: HTTP ${answer.status}`);
};

const checkpoint = JSON.parse((await get("_delta_log/_last_checkpoint")) ?? '{"version":-1}').version;
let version = Number(rest.find((text) => /^-?\d+$/.test(text)) ?? checkpoint);
for (;;) {
  const entry = await get(`_delta_log/${String(version + 1).padStart(20, "0")}.json`);
  if (entry === null) {
    if (version < checkpoint) throw new Error(`what came after version ${version} is gone: begin anew`);
    if (rest.includes("--once")) break;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    continue;
  }
  version += 1;
  for (const line of entry.trim().split("\n")) {
    const { add } = JSON.parse(line);
    if (!add?.dataChange) continue; // a merge changes no data
    const { numRecords: rows, minValues, maxValues } = JSON.parse(add.stats);
    const [from, to] = [minValues.changed_at, maxValues.changed_at];
    console.log(JSON.stringify({ version, url: `${root}/${add.path}`, rows, from, to }));
  }
}
