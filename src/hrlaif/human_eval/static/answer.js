// The boxes of the page: a turn of the request, and an answer with whether it satisfies and why not.

import { FLAWS } from "/static/texts.js";
import { fill } from "/static/tree.js";

const KEYS = { left: ["A", "S"], right: ["K", "L"] };

export function sectionOf(side) {
  return document.querySelector(`.response[data-side="${side}"]`);
}

export function drawnTurn(turn, isAlone, texts) {
  const [box, role, text] = ["div", "h3", "div"].map((tag) => document.createElement(tag));
  box.className = "turn";
  role.textContent = texts[turn.role] ?? turn.role;
  role.hidden = isAlone;
  text.className = "text whole";
  fill(text, turn.tree);
  box.append(role, text);
  return box;
}

export function furnishAnswer(side, { satisfy, tick, showAll }) {
  const section = sectionOf(side);
  section.append(document.getElementById("response").content.cloneNode(true));
  section.querySelector("h2").id = `${side}-title`;
  const [yes, no] = KEYS[side];
  for (const [name, key, satisfied] of [[".yes", yes, true], [".no", no, false]]) {
    section.querySelector(`${name} kbd`).textContent = key;
    section.querySelector(name).addEventListener("click", () => satisfy(side, satisfied));
  }
  section.querySelector(".all").addEventListener("click", showAll);
  for (const [flaw, key] of FLAWS) {
    const [button, label, shown] = ["button", "span", "kbd"].map((tag) => document.createElement(tag));
    button.type = "button";
    button.className = "choice";
    button.dataset.flaw = flaw;
    label.dataset.text = flaw;
    shown.textContent = key;
    button.append(label, " ", shown);
    button.addEventListener("click", () => tick(side, flaw));
    section.querySelector(".flaws").append(button);
  }
}
