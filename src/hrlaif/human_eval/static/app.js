// The page: one item at a time, the next ones already here, every vote in the outbox before the next item is shown.

import { drawnTurn, furnishAnswer, sectionOf } from "/static/answer.js";
import { ask } from "/static/api.js";
import { chosenLang, rememberLang, writeTexts } from "/static/lang.js";
import { newId, Outbox } from "/static/outbox.js";
import { FLAWS, TEXTS } from "/static/texts.js";
import { fill } from "/static/tree.js";

const AHEAD = 3;
const RETRY_MS = 1000;
const SIDES = ["left", "right"];
const $ = (id) => document.getElementById(id);

let texts = TEXTS.en;
let session = null;
let outbox = null;
let queue = []; // items that are here and not yet shown
let current = null;
let draft = null;
let rated = []; // items rated before, in order
let place = 0; // where in `rated` the page is; rated.length is the first item that is not rated
let isUncovered = false;
let shownAt = 0;
let onEnter = null;
let onNo = null;
let isFetching = false;
let isFinished = false;

// --- language ---

function speak(lang) {
  texts = TEXTS[lang];
  writeTexts(lang);
}

function switchLang() {
  const lang = texts === TEXTS.en ? "zh" : "en";
  rememberLang(lang);
  speak(lang);
  again();
}

let again = () => {}; // draws what is shown once more, in the other language

// --- session ---

async function start() {
  const token = location.hash.slice(1);
  const found = token ? await ask("/api/session", { token }) : await ask("/api/state");
  if (found.status === 200) {
    // The link is a secret: it leaves the address bar, and with it the history and screenshots.
    history.replaceState(null, "", location.pathname + location.search);
    session = found;
    rated = found.rated;
    place = rated.length;
    outbox = new Outbox(found.rater.key, { send, changed });
    outbox.flush();
    await next();
  } else if (found.status === 401 || found.status === 404) {
    if (token && (await ask("/api/state")).status === 200) {
      history.replaceState(null, "", location.pathname + location.search);
      return start();
    }
    closed();
  } else {
    waiting();
    setTimeout(start, RETRY_MS);
  }
}

function changed() {
  showProgress();
  if (isFinished) again();
}

function closed() {
  const left = outbox ? outbox.votes().length : 0;
  say(() => [texts.closed_title, left ? texts.closed_unsaved(left) : texts.closed_text]);
}

async function send(vote) {
  const reply = await ask("/api/votes", vote);
  if (reply.status === 200) {
    count(reply);
    return "saved";
  }
  if (reply.status === 401) {
    closed();
    return "closed";
  }
  if (reply.status === 403) await ask("/api/state"); // brings a new token
  return reply.status === 409 || reply.status === 400 || reply.status === 404 ? "refused" : "unreachable";
}

// Replies may overtake each other, and nothing that is rated becomes unrated.
function count(reply) {
  session.done = Math.max(session.done, reply.done);
  session.total = reply.total;
}

// --- moving through the list ---

async function next() {
  if (place < rated.length) return reopen(rated[place]);
  if (queue.length) {
    current = queue.shift();
    show(null);
  } else {
    only(null); // nothing to press keys on until the next item is here
  }
  await fetchAhead(); // shows what it brings where nothing is shown
}

async function fetchAhead() {
  if (isFetching || queue.length >= AHEAD) return;
  isFetching = true;
  const away = [...queue, ...(current && place === rated.length ? [current] : [])].map((one) => one.item);
  const not = [...away, ...outbox.votes().map((vote) => vote.item)];
  const reply = await ask(`/api/items?n=${AHEAD + 1 - queue.length}&not=${not.join(",")}`);
  isFetching = false;
  if (reply.status === 200) {
    queue.push(...reply.items.filter((one) => !queue.some((other) => other.item === one.item)));
    count(reply);
    showProgress();
    if (!current && place === rated.length) await (queue.length ? next() : finished());
  } else if (reply.status === 401) {
    closed();
  } else {
    if (!current) waiting();
    setTimeout(fetchAhead, RETRY_MS);
  }
}

async function back() {
  if (!session || place === 0) return;
  if (place === rated.length && current) queue.unshift(current);
  place -= 1;
  await reopen(rated[place]);
}

async function reopen(item) {
  const reply = await ask(`/api/items/${item}`);
  if (reply.status !== 200) {
    waiting();
    setTimeout(() => (place < rated.length && rated[place] === item ? reopen(item) : undefined), RETRY_MS);
    return;
  }
  const waitingVote = outbox.votes().findLast((vote) => vote.item === item);
  current = reply;
  show(waitingVote ?? reply.vote);
}

function save() {
  if (!isComplete()) return;
  const side = (name) => (draft.choice === "skip" ? undefined : { ...draft[name], flaws: [...draft[name].flaws] });
  const seconds = Math.round((performance.now() - shownAt) / 100) / 10;
  const vote = { id: newId(), item: current.item, choice: draft.choice, left: side("left"), right: side("right"), seconds };
  if (place === rated.length) rated.push(current.item);
  place += 1;
  current = null;
  outbox.add(vote);
  next();
}

// --- what is shown ---

function only(id) {
  for (const part of ["message", "item", "verdict"]) $(part).hidden = !(id === part || (id === "item" && part === "verdict"));
  $("back").disabled = !session || place === 0;
  showProgress();
}

function say(words, { yes, no } = {}) {
  isFinished &&= words === finalWords;
  again = () => say(words, { yes, no });
  const [title, text, yesText, noText] = words();
  $("message-title").textContent = title;
  $("message-text").textContent = text;
  [onEnter, onNo] = [yes ?? null, no ?? null];
  for (const [id, label, act] of [["message-yes", yesText, yes], ["message-no", noText, no]]) {
    $(id).hidden = !act;
    $(id).firstElementChild.textContent = label ?? "";
  }
  only("message");
}

function waiting() {
  say(() => [texts.waiting_title, texts.waiting_text]);
}

function finished() {
  current = null;
  isFinished = true;
  say(finalWords);
}

function finalWords() {
  return outbox.votes().length ? [texts.waiting_title, texts.waiting_text] : [texts.done_title, texts.done_text];
}

function show(vote) {
  if (current.is_red_team && session.reads_red_team === null) return warn();
  const filled = (given) => ({ satisfied: given?.satisfied ?? null, flaws: new Set(given?.flaws ?? []) });
  draft = { choice: vote?.choice ?? null, left: filled(vote?.left), right: filled(vote?.right), active: "left" };
  isUncovered = !current.is_red_team;
  isFinished = false;
  shownAt = performance.now();
  again = () => (draw(), drawDraft());
  draw();
  drawDraft();
  window.scrollTo(0, 0);
}

function warn() {
  const left = () => Math.max(1, session.total - session.done - outbox.votes().length);
  const answer = async (reads) => {
    const reply = await ask("/api/red-team", { reads });
    if (reply.status !== 200) return setTimeout(() => answer(reads), RETRY_MS);
    session.reads_red_team = reads;
    if (reads) return show(null);
    queue = queue.filter((one) => !one.is_red_team);
    current = null;
    session.total = reply.total;
    await next();
  };
  say(() => [texts.warning_title, texts.warning_text(left()), texts.warning_yes, texts.warning_no], {
    yes: () => answer(true),
    no: () => answer(false),
  });
}

function draw() {
  onEnter = isUncovered ? save : uncover;
  onNo = null;
  $("question").textContent = current.is_red_team ? texts.question_red_team : texts.question;
  $("cover").hidden = isUncovered;
  $("responses").hidden = !isUncovered;
  $("prompt").hidden = !isUncovered;
  $("reference").hidden = !current.reference;
  $("reference-text").textContent = current.reference ?? "";
  showReference(false);
  $("turns").replaceChildren(...(isUncovered ? current.turns.map((turn) => drawnTurn(turn, current.turns.length === 1, texts)) : []));
  current.responses.forEach((response, index) => {
    const section = sectionOf(SIDES[index]);
    const text = section.querySelector(".text");
    text.classList.remove("whole");
    fill(text, isUncovered ? response.tree : []);
    section.querySelector(".cut").hidden = !response.is_cut;
    if (isUncovered && !text.textContent.trim()) text.textContent = texts.empty;
  });
  only("item");
  for (const side of SIDES) offerAll(side);
}

function offerAll(side) {
  const section = sectionOf(side);
  const text = section.querySelector(".text");
  section.querySelector(".all").hidden = text.classList.contains("whole") || text.scrollHeight <= text.clientHeight + 8;
}

function showAll() {
  for (const side of SIDES) {
    sectionOf(side).querySelector(".text").classList.add("whole");
    offerAll(side);
  }
}

function showReference(isOpen) {
  $("reference-text").hidden = !isOpen;
  $("reference-button").setAttribute("aria-expanded", String(isOpen));
}

function uncover() {
  isUncovered = true;
  draw();
  drawDraft();
}

function drawDraft() {
  for (const button of document.querySelectorAll("[data-choice]")) {
    button.setAttribute("aria-pressed", String(draft.choice === button.dataset.choice));
    button.disabled = !isUncovered && button.dataset.choice !== "skip";
  }
  for (const side of SIDES) {
    const section = sectionOf(side);
    const { satisfied, flaws } = draft[side];
    section.querySelector(".yes").setAttribute("aria-pressed", String(satisfied === true));
    section.querySelector(".no").setAttribute("aria-pressed", String(satisfied === false));
    section.querySelector(".flaws").hidden = satisfied !== false;
    section.classList.toggle("active", draft.active === side && satisfied === false);
    for (const button of section.querySelectorAll("[data-flaw]")) {
      button.setAttribute("aria-pressed", String(flaws.has(button.dataset.flaw)));
    }
  }
  $("save").disabled = !isComplete();
}

function isComplete() {
  if (!current || !draft || $("item").hidden) return false;
  return draft.choice === "skip" || (draft.choice !== null && SIDES.every((side) => draft[side].satisfied !== null));
}

function showProgress() {
  if (!session) return;
  const unsaved = outbox.votes().length;
  $("progress").max = Math.max(1, session.total);
  $("progress").value = session.done;
  $("count").textContent = texts.count(session.done, session.total);
  const isStuck = unsaved > 0 && outbox.problem;
  $("saved").textContent = isStuck ? texts.unsaved(unsaved) : unsaved ? texts.saving : session.done ? texts.saved : "";
  $("saved").classList.toggle("stuck", Boolean(isStuck));
}

// --- what the rater does ---

function choose(choice) {
  if (!draft || (!isUncovered && choice !== "skip")) return;
  draft.choice = choice;
  if (choice === "skip" && !isUncovered) onEnter = save;
  drawDraft();
}

function satisfy(side, satisfied) {
  if (!draft || !isUncovered) return;
  draft[side].satisfied = satisfied;
  draft.active = side;
  drawDraft();
}

function tick(side, flaw) {
  if (!draft || !isUncovered || draft[side].satisfied !== false) return;
  const { flaws } = draft[side];
  if (!flaws.delete(flaw)) flaws.add(flaw);
  draft.active = side;
  drawDraft();
}

const KEYS = {
  1: () => choose("left"),
  2: () => choose("tie"),
  3: () => choose("right"),
  ArrowLeft: () => choose("left"),
  ArrowRight: () => choose("right"),
  x: () => choose("skip"),
  a: () => satisfy("left", true),
  s: () => satisfy("left", false),
  k: () => satisfy("right", true),
  l: () => satisfy("right", false),
  e: showAll,
  g: () => showReference($("reference-text").hidden),
  ...Object.fromEntries(FLAWS.map(([flaw, key]) => [key.toLowerCase(), () => tick(draft?.active ?? "left", flaw)])),
};

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || $("help").open) return;
  // A key's own place serves keyboards whose letters are not Latin.
  const isLatin = /^[\x20-\x7e]$/.test(event.key) || event.key.length > 1;
  const key = isLatin ? (event.key.length === 1 ? event.key.toLowerCase() : event.key) : event.code.replace(/^Key|^Digit/, "").toLowerCase();
  if (key === "Enter" || key === " ") {
    // A button that was reached by the keyboard is what Enter means.
    if (key === " " || document.activeElement instanceof HTMLButtonElement || event.repeat) return;
    onEnter?.();
  } else if (key === "?") {
    $("help").showModal();
  } else if (key === "b") {
    back();
  } else if (!$("message").hidden) {
    if (key !== "s" || !onNo) return;
    onNo();
  } else if (!$("item").hidden && Object.hasOwn(KEYS, key)) {
    KEYS[key]();
  } else {
    return;
  }
  event.preventDefault();
}

function furnish() {
  for (const side of SIDES) furnishAnswer(side, { satisfy, tick, showAll });
  for (const button of document.querySelectorAll("[data-choice]")) {
    button.addEventListener("click", () => choose(button.dataset.choice));
  }
  const acts = { save, back, uncover, lang: switchLang };
  for (const [id, act] of Object.entries(acts)) $(id).addEventListener("click", () => act());
  $("message-yes").addEventListener("click", () => onEnter?.());
  $("message-no").addEventListener("click", () => onNo?.());
  $("reference-button").addEventListener("click", KEYS.g);
  $("help-button").addEventListener("click", () => $("help").showModal());
  $("help-close").addEventListener("click", () => $("help").close());
  document.addEventListener("keydown", pressed);
  // After a click with the pointer the keys belong to the page again.
  document.addEventListener("click", (event) => event.detail > 0 && document.activeElement?.blur());
  window.addEventListener("online", () => outbox?.flush());
}

furnish();
speak(chosenLang());
start();
