// A finished job as a part of the page.

import { badge, boxes, element, scaleBar, score, timeline } from "./drawing.js";

/** What a job found: sentence, score, frame with boxes, timeline, faces with heat maps. */
export function found(job) {
  const result = job.result;
  const parts = element("div", { class: "found" }, element("p", {}, sentence(result)));
  if (result.warnings?.length) {
    const items = result.warnings.map((text) => element("li", {}, `${text[0].toUpperCase()}${text.slice(1)}.`));
    parts.append(element("div", { class: "message warn" }, element("b", {}, "Mind"), element("ul", {}, ...items)));
  }
  if (result.score !== null) parts.append(scaleBar(result));
  const left = [frame(job)];
  if (result.provenance) left.push(section("What the file says about itself", ...credentials(result.provenance)));
  const right = [];
  if (result.kind === "video" && result.score !== null) right.push(section("Score of each analysed frame", timeline(result)));
  const faces = telling(job);
  if (faces) right.push(section(faces.querySelectorAll("figure").length > 1 ? "Most telling faces" : "The face", faces));
  const analysed = section("What was analysed", facts(result));
  analysed.className = "last";
  (right.length ? left : right).push(analysed);
  parts.append(element("div", { class: "columns" }, element("div", {}, ...left.filter(Boolean)), element("div", {}, ...right)));
  return parts;
}

export function verdict(job) {
  return badge(job.state === "failed" ? "not analysed" : job.result.verdict);
}

/** One line for people who listen. */
export function spoken(job) {
  if (job.state === "failed") return `${job.name} could not be judged: ${job.error}`;
  const value = job.result.score === null ? "" : `, score ${score(job.result.score)}`;
  return `${job.name}: ${job.result.verdict}${value}`;
}

function sentence({ score: value, threshold, uncertain, verdict: word, kind, tracks, marks, provenance }) {
  if (value === null) {
    return tracks.length
      ? "Faces were found, but none that is large and steady enough to judge; the reasons are below."
      : "No face was found, and only faces are judged: this says nothing about the rest of it.";
  }
  const counted = tracks.filter((track) => track.counted).length;
  const what = kind === "image" ? "picture" : "clip";
  const whose = counted === 1 ? `The face in this ${what}` : `The most suspicious of ${counted} faces in this ${what}`;
  if (word === "uncertain") {
    if (uncertain && uncertain[0] <= value && value <= uncertain[1]) {
      return `${whose} scores ${score(value)}. Between ${score(uncertain[0])} and ${score(uncertain[1])} this detector does not decide.`;
    }
    if (marks.length || provenance?.says_synthetic) {
      return `${whose} scores ${score(value)}, but the file itself says that it, or a part of it, is machine-made.`;
    }
    if (tracks.find((track) => track.counted).verdict === "real") {
      return `${whose} scores ${score(value)}, but one that is seen too briefly to count scores as fake.`;
    }
    return `${whose} scores ${score(value)}, but its picture is poorer than nearly all that this detector was tested on.`;
  }
  return `${whose} scores ${score(value)}, ${value >= threshold ? "at or above" : "below"} the threshold of ${score(threshold)}.`;
}

function frame({ pictures, result, name }) {
  const picture = pictures.find((each) => each.kind === "frame");
  if (!picture) return null;
  const { width, height } = picture;
  // A tall picture is made narrower, so that it is never taller than about 440 pixels.
  const shape = { aspectRatio: `${width} / ${height}`, width: `${Math.min(720, (440 * width) / height).toFixed(0)}px` };
  const alt = `The analysed ${result.kind === "image" ? "picture" : "frame"} of ${name}`;
  const still = element("div", { class: "still", style: shape }, element("img", { src: picture.href, alt }), boxes(result.tracks, picture.frame, width, height));
  const when = result.kind === "video" ? ` at ${picture.time.toFixed(2)} s` : "";
  const which = result.tracks.length ? " with every face found in it" : "";
  return section(null, element("figure", {}, still, element("figcaption", {}, `The ${result.kind === "video" ? "frame" : "picture"}${when}${which}`)));
}

const VIEWS = {
  face: ["as the network saw it", "Face"],
  "heat map": ["what speaks for fake", "Heat map of the face, bright where it raises the score"],
  adversary: ["what the adversary blurs", "Blur of the adversary, bright where it wants to wipe something out"],
};
const EXPLAINED = {
  "heat map": "Heat map: the parts that raise the score, each face on its own scale; the brightest part weighs most. It shows where the network looked, not where somebody cut.",
  adversary: "Adversary: a second network that tries to make forgeries pass by blurring them spot by spot; bright is where it blurs most.",
};

function telling({ pictures, result }) {
  const groups = new Map();
  for (const picture of pictures.filter((each) => each.kind !== "frame")) {
    const name = `${picture.track} ${picture.frame}`;
    groups.set(name, [...(groups.get(name) ?? []), picture]);
  }
  if (!groups.size) return null;
  const figures = [...groups.values()].map((group) => {
    const [first] = group;
    const where = [
      result.tracks.length > 1 ? `face ${first.track + 1}` : null,
      result.kind === "video" ? `${first.time.toFixed(2)} s` : null,
    ].filter(Boolean);
    const images = group.map((each) => element("img", { src: each.href, alt: `${VIEWS[each.kind]?.[1] ?? each.kind}, score ${score(each.score)}` }));
    const caption = element("figcaption", { class: "number" }, element("b", {}, score(first.score)), where.length ? ` ${where.join(", ")}` : "");
    return element("figure", {}, element("div", { class: "pair" }, ...images), caption);
  });
  const kinds = [...new Set([...groups.values()].flat().map((each) => each.kind))];
  if (kinds.length < 2) return element("div", { class: "faces" }, ...figures);
  return element(
    "div",
    {},
    element("div", { class: `pair heads small soft views-${kinds.length}`, "aria-hidden": "true" }, ...kinds.map((kind) => element("span", {}, VIEWS[kind]?.[0] ?? kind))),
    element("div", { class: `faces mapped views-${kinds.length}` }, ...figures),
    ...kinds.filter((kind) => EXPLAINED[kind]).map((kind) => element("p", { class: "small soft" }, EXPLAINED[kind])),
  );
}

const CREDENTIALS = {
  trusted: "It carries content credentials, unchanged and signed by somebody on the trust list.",
  valid: "It carries content credentials that were not changed since; nobody here vouches for who signed them.",
  invalid: "It carries content credentials, but they do not fit the file or are badly signed.",
  elsewhere: "It names an address where its content credentials are kept; nothing was fetched.",
};

function credentials({ state, signer, time, generator, actions, sources, says_synthetic: synthetic, problems }) {
  const told = CREDENTIALS[state] ?? "It carries content credentials that cannot be read.";
  const said = synthetic ? `${told} They themselves call the picture, or a part of it, machine-made.` : told;
  const rows = [["Signed by", signer], ["On", time], ["Made with", generator], ["Actions", actions?.join(", ")], ["Source", sources?.join(", ")], ["Problems", problems?.join(", ")]];
  return [element("p", {}, `${said} The score does not rest on this.`), definitions(rows.filter(([, value]) => value))];
}

function facts(result) {
  const shape = `${result.width} × ${result.height} px`;
  const rows =
    result.kind === "image"
      ? [["Image", shape]]
      : [
          ["Video", `${shape}, ${result.duration.toFixed(1)} s; sound is not analysed`],
          ["Frames", `${result.frames} spread over the clip, ${result.frames_with_face} with a face; the rest were not looked at`],
        ];
  const out = result.tracks.filter((track) => !track.counted);
  for (const track of out.slice(0, 5)) rows.push(["Left out", `a face, ${track.reason}`]);
  if (out.length > 5) rows.push(["", `and ${out.length - 5} more`]);
  return definitions(rows);
}

export function definitions(rows) {
  return element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

function section(title, ...content) {
  return element("section", {}, title ? element("h4", {}, title) : null, ...content);
}
