// The classes of the pictures, and their colours.

const COLOURS = 8; // the rarer ones share a grey

/** Returns [label, number of pictures], the most frequent first. */
export function countLabels(labels) {
  const counts = new Map();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

/** Returns the colour of each picture, of(i), and the key's entries [colour, name]; none where all have one label. */
export function colourLabels(labels) {
  const counts = countLabels(labels);
  if (counts.length < 2) return { of: () => 0, entries: [] };
  const common = counts.slice(0, COLOURS).map(([label]) => label);
  const colour = new Map(common.sort().map((label, i) => [label, i]));
  const entries = [...colour].map(([label, i]) => [i, label || "no label"]);
  if (counts.length > COLOURS) entries.push([COLOURS, `${counts.length - COLOURS} more`]);
  return { of: i => colour.get(labels[i]) ?? COLOURS, entries };
}
