// Files go up, two at a time, each becomes a job, and jobs are asked after until they end.

import { element } from "./drawing.js";
import { definitions, found, spoken, verdict } from "./result.js";

const UPLOADS = 2;
const REMEMBERED = "unmask jobs";
const get = (id) => document.getElementById(id);

let about = null;
let uploading = 0;
let locked = false;
const items = [];

/** Where a file stands: waiting -> uploading -> queued -> running -> done or failed. */
class Item {
  constructor(called, file = null, id = null) {
    // As the server does. What does not show may turn the order of letters, and with it the ending of a name.
    const name = called.replace(/\p{C}/gu, "");
    Object.assign(this, { name, file, id, request: null, gone: false, followed: false });
    this.bar = element("progress", { max: 1, value: 0, "aria-label": `Progress of ${name}` });
    this.text = element("span", { class: "small soft number" }, "Waiting");
    this.going = element("div", { class: "going" }, this.bar, this.text);
    this.title = element("h3", {}, name);
    this.remove = element("button", { class: "button quiet", type: "button", "aria-label": `Cancel ${name}` }, "Cancel");
    this.acts = element("div", { class: "acts" }, this.remove);
    this.head = element("div", { class: "head" }, this.title, this.acts);
    this.node = element("article", { class: "card" }, this.head, this.going);
    this.remove.addEventListener("click", () => this.forget());
  }

  show(text, share = null) {
    this.text.textContent = text;
    if (share === null) this.bar.removeAttribute("value");
    else this.bar.value = share;
  }

  update(job) {
    if (job.state === "queued") this.show(job.before ? `Waiting, ${job.before} before it` : "Waiting", 0);
    else if (job.state === "running") this.show(`Analysing, ${Math.round(100 * job.progress)} %`, job.progress);
    else this.end(job);
  }

  end(job) {
    this.going.remove();
    this.head.prepend(verdict(job));
    this.remove.textContent = "Remove";
    this.remove.setAttribute("aria-label", `Remove ${this.name}`);
    if (job.state === "failed") {
      this.node.append(element("p", { class: "message found" }, `Reason: ${job.error}`));
    } else {
      const label = `Report on ${this.name}`;
      const link = { class: "button quiet", href: job.report, target: "_blank", rel: "noopener", "aria-label": label };
      this.acts.prepend(element("a", link, "Report"));
      this.node.append(found(job));
    }
    get("said").textContent = spoken(job);
  }

  fail(error) {
    this.end({ state: "failed", name: this.name, error });
  }

  forget() {
    this.gone = true;
    this.request?.abort();
    if (this.id) {
      ask(`jobs/${this.id}`, { method: "DELETE" }).catch((error) => {
        if (error.status !== 404) trouble(`${this.name} is still on the server, until its time is over: ${error.message}.`);
      });
    }
    const place = items.indexOf(this);
    items.splice(place, 1);
    this.node.remove();
    remember();
    get("said").textContent = `${this.name} removed`;
    (items[Math.min(place, items.length - 1)]?.remove ?? get("files")).focus();
  }
}

function add(files) {
  for (const file of [...files].reverse()) {
    const item = new Item(file.name, file);
    items.unshift(item);
    get("list").prepend(item.node);
    if (about && file.size > about.limits.max_bytes) {
      item.file = null;
      item.fail(`the file has more than the ${size(about.limits.max_bytes)} allowed`);
    } else if (!file.size) {
      item.file = null;
      item.fail("the file is empty");
    }
  }
  next();
}

function next() {
  if (locked) return; // start() goes on once there is a token
  while (uploading < UPLOADS) {
    const item = items.find((each) => each.file);
    if (!item) return;
    upload(item, item.file);
    item.file = null;
  }
}

function upload(item, file) {
  uploading += 1;
  const form = new FormData();
  form.append("file", file);
  // fetch() says nothing about the progress of an upload.
  const request = (item.request = new XMLHttpRequest());
  request.open("POST", "detect");
  request.setRequestHeader("Prefer", "respond-async");
  request.responseType = "json";
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) item.show(`Uploading, ${Math.round((100 * event.loaded) / event.total)} %`, event.loaded / event.total);
  });
  request.addEventListener("loadend", () => {
    uploading -= 1;
    item.request = null;
    if (!item.gone) answered(item, file, request);
    next();
  });
  item.show("Uploading, 0 %", 0);
  request.send(form);
}

function answered(item, file, request) {
  const { status, response } = request;
  if (status === 503) {
    const wait = Number(request.getResponseHeader("Retry-After")) || 5;
    item.show("The server is busy; this file is tried again", 0);
    setTimeout(() => {
      if (item.gone) return;
      item.file = file;
      next();
    }, 1000 * wait);
  } else if (status === 200 || status === 202) {
    item.id = response.id;
    remember();
    follow(item, response);
  } else if (status === 401) {
    item.file = file;
    item.show("Waiting for a token", 0);
    lock();
  } else if (status === 0) {
    item.fail("the connection to the server ended");
  } else {
    item.fail(response?.detail ?? `the server answered ${status}`);
  }
}

async function follow(item, job = null) {
  if (item.followed) return;
  item.followed = true;
  let pause = 250;
  while (!item.gone) {
    try {
      const now = job ?? (await ask(`jobs/${item.id}`));
      job = null;
      item.update(now);
      if (now.finished) return;
    } catch (error) {
      if (error.status === 401) {
        item.followed = false; // until there is a token again
        return lock();
      }
      if (error.status < 500) return item.fail(error.message); // else a proxy may say that the server starts anew
      item.show("The server does not answer; still trying", 0);
      pause = 3000;
    }
    await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(1.3 * pause, 2000);
  }
}

/** JSON from the server; an error with `status` where it refuses. */
async function ask(path, options = {}) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  const body = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(body.detail ?? `the server answered ${answer.status}`), { status: answer.status });
}

function trouble(text) {
  Object.assign(get("trouble"), { textContent: text, hidden: false });
}

function remember() {
  const kept = items.filter((item) => item.id).map(({ id, name }) => ({ id, name }));
  sessionStorage.setItem(REMEMBERED, JSON.stringify(kept));
}

function recall() {
  const known = new Set(items.map((item) => item.id));
  for (const { id, name } of JSON.parse(sessionStorage.getItem(REMEMBERED) ?? "[]")) {
    if (known.has(id)) continue;
    const item = new Item(name, null, id);
    items.push(item);
    get("list").append(item.node);
  }
  for (const item of items.filter((each) => each.id && each.going.isConnected)) follow(item);
}

function lock() {
  locked = true;
  get("work").hidden = true;
  get("leave").hidden = true;
  get("door").hidden = false;
  get("token").focus();
}

async function enter(event) {
  event.preventDefault();
  const error = get("door-error");
  error.textContent = "";
  try {
    await ask("session", { method: "POST", body: JSON.stringify({ token: get("token").value.trim() }) });
    get("token").value = "";
    await start();
    get("files").focus();
  } catch (problem) {
    error.textContent = problem.status === 401 ? "This token is not known." : "The server does not answer.";
    get("token").focus();
  }
}

async function leave() {
  try {
    await ask("session", { method: "DELETE" });
  } catch {
    return trouble("The server does not answer: the token is not forgotten. Closing the browser forgets it, too.");
  }
  sessionStorage.removeItem(REMEMBERED);
  location.reload();
}

async function start() {
  try {
    about = await ask("about");
  } catch (error) {
    if (error.status === 401) return lock();
    return trouble(`The server cannot be used: ${error.message}.`);
  }
  locked = false;
  const { limits, detector } = about;
  get("door").hidden = true;
  get("work").hidden = false;
  get("leave").hidden = !about.needs_token;
  get("limits").textContent = `JPEG, PNG, WebP, MP4, MOV, MKV, WebM and others, up to ${size(limits.max_bytes)} each, videos up to ${time(limits.max_duration)}`;
  get("kept").textContent = `A file is deleted from the server as soon as it is judged, its result after ${time(limits.keep)}, after ${limits.keep_at_most} newer ones, or when you remove it.`;
  get("version").textContent = `unmask ${about.version}`;
  get("card").replaceChildren(
    element("p", { class: "soft" }, detector.intended_use),
    element("ul", {}, ...detector.limits.map((limit) => element("li", {}, limit))),
    definitions([
      ["Detector", `${detector.name}, version ${detector.version}, weights ${detector.weights}`],
      ["Threshold", `${detector.threshold.toFixed(3)}: ${detector.threshold_rule}`],
    ]),
  );
  recall();
  next();
}

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  const step = Math.min(3, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  return `${Number((bytes / 1024 ** step).toPrecision(3))} ${units[step]}`;
}

function time(seconds) {
  const [count, unit] = seconds >= 172800 ? [seconds / 86400, "day"] : seconds >= 3600 ? [seconds / 3600, "hour"] : seconds >= 60 ? [seconds / 60, "minute"] : [seconds, "second"];
  const rounded = Number(count.toPrecision(2));
  return `${rounded} ${unit}${rounded === 1 ? "" : "s"}`;
}

const carries = (event) => event.dataTransfer?.types.includes("Files") && !get("work").hidden;
let depth = 0;
window.addEventListener("dragenter", (event) => {
  if (carries(event)) get("drop").classList.toggle("over", ++depth > 0);
});
window.addEventListener("dragleave", (event) => {
  if (carries(event)) get("drop").classList.toggle("over", --depth > 0);
});
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => {
  event.preventDefault(); // else the browser would leave the page and open the file
  depth = 0;
  get("drop").classList.remove("over");
  if (carries(event)) add(event.dataTransfer.files);
});
get("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
get("door").addEventListener("submit", enter);
get("leave").addEventListener("click", leave);
start();
