// Small drawings and the elements they are made of. Nothing is ever parsed from text: names stay names.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; text stays text. */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function drawn(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    // The page's policy forbids style attributes; setting a property is no attribute.
    if (name === "style") Object.assign(node.style, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

const SHAPES = {
  fake: "M5 0 10 9H0z",
  real: "M5 .4a4.6 4.6 0 1 0 .01 0z",
  uncertain: "M5 0 10 5 5 10 0 5z",
  "no face": "M0 4h10v2H0z",
  "not analysed": "M1 0 5 4 9 0 10 1 6 5 10 9 9 10 5 6 1 10 0 9 4 5 0 1z",
};

/** The verdict as a word with a shape of its own, so that it does not rest on colour. */
export function badge(word) {
  const shape = drawn("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, drawn("path", { d: SHAPES[word] ?? SHAPES["no face"] }));
  return element("span", { class: `verdict ${word.replace(" ", "-")}` }, shape, word);
}

/** The score on a bar from 0 to 1 with the threshold and, if there is one, the uncertain band. */
export function scaleBar({ score, threshold, uncertain }) {
  const at = (value) => `${(100 * value).toFixed(1)}%`;
  const inside = (value, edge) => `clamp(${edge}, ${at(value)}, 100% - ${edge})`;
  const band = uncertain
    ? element("i", { class: "band", style: { left: at(uncertain[0]), width: at(uncertain[1] - uncertain[0]) } })
    : null;
  const label = `Score ${score.toFixed(3)} on a scale from 0, real, to 1, fake. Threshold ${threshold.toFixed(3)}.`;
  return element(
    "div",
    { class: "scale", role: "img", "aria-label": label },
    element("div", { class: "at number" }, element("span", { style: { left: inside(score, "1.4em") } }, score.toFixed(3))),
    element(
      "div",
      { class: "bar" },
      element("i", { class: "zone", style: { left: at(threshold) } }),
      band,
      element("i", { class: "tick", style: { left: at(threshold) } }),
      element("i", { class: "mark", style: { left: at(score) } }),
    ),
    element(
      "div",
      { class: "ends number" },
      element("span", {}, "0 real"),
      element("span", {}, "fake 1"),
      element("span", { class: "limit", style: { left: inside(threshold, "4.5em") } }, `threshold ${threshold.toFixed(3)}`),
    ),
  );
}

/** Boxes round the faces of one frame; dashed where they did not count. White on black is seen on any picture. */
export function boxes(tracks, frame, width, height) {
  const overlay = drawn("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (const track of tracks) {
    for (const face of track.faces.filter((each) => each.frame === frame)) {
      const [x, y, w, h] = face.box;
      const place = { x, y, width: w, height: h };
      overlay.append(
        drawn("rect", { ...place, stroke: "#000", "stroke-width": 5 }),
        drawn("rect", { ...place, stroke: "#fff", "stroke-width": 2.5, "stroke-dasharray": track.counted ? null : "6 5" }),
      );
    }
  }
  return overlay;
}

/** Frame scores over time: dots for the deciding track, thin lines for the others. */
export function timeline({ tracks, duration, threshold }) {
  const [deciding, ...rest] = tracks;
  const others = rest.filter((track) => track.counted);
  const end = Math.max(duration ?? 0, ...tracks.flatMap((track) => track.faces.map((face) => face.time)), 1e-6);
  const x = (time) => ((1000 * time) / end).toFixed(1);
  const y = (score) => (100 - 100 * score).toFixed(1);
  const line = (track) => "M" + track.faces.map((face) => `${x(face.time)} ${y(face.score)}`).join(" L");
  const label = `Frame scores from 0 to ${end.toFixed(1)} seconds, ${score(deciding.score)} over all. The values are in the report.`;
  const drawing = drawn(
    "svg",
    { viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img", "aria-label": label },
    drawn("path", { class: "grid", d: "M0 0H1000M0 50H1000M0 100H1000" }),
    drawn("path", { class: "threshold", d: `M0 ${y(threshold)}H1000` }),
    ...others.map((track) => drawn("path", { class: "other", d: line(track) })),
    drawn("path", { class: "curve", d: line(deciding) }),
    ...deciding.faces.map((face) =>
      drawn("path", { class: "dot", d: `M${x(face.time)} ${y(face.score)}h.01` }, drawn("title", {}, `${face.time.toFixed(2)} s: ${score(face.score)}`)),
    ),
  );
  return element(
    "div",
    {},
    element(
      "div",
      { class: "plot number" },
      element("div", { class: "y", "aria-hidden": "true" }, ...["1", "0.5", "0"].map((text) => element("span", {}, text))),
      drawing,
      element("div", { class: "x" }, element("span", {}, "0 s"), element("span", {}, `${end.toFixed(1)} s`)),
    ),
    element(
      "ul",
      { class: "legend" },
      key("dot", "M10 4h.01", "deciding face"),
      key("threshold", "M0 4H20", "threshold"),
      others.length ? key("other", "M0 4H20", "other faces") : null,
    ),
  );
}

function key(style, d, text) {
  return element("li", {}, drawn("svg", { viewBox: "0 0 20 8", "aria-hidden": "true" }, drawn("path", { class: style, d })), text);
}

export function score(value) {
  return value.toFixed(3);
}
